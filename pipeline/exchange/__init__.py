"""Write tables and streams together, in the layouts of other tools."""
