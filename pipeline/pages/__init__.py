"""Offline HTML pages: their frame, style and colours, the page of turns, and media that browsers can play."""
