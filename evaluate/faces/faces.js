"use strict";
const search = document.querySelector("input[type=search]");
const kinds = [...document.querySelectorAll("input[type=checkbox]")];
const rows = [...document.querySelectorAll(".utterance")];
const texts = rows.map((row) => row.querySelector("p").textContent.toLowerCase());

function filter() {
  const words = search.value.toLowerCase();
  const wanted = kinds.filter((box) => box.checked).map((box) => box.value);
  let shown = 0;
  rows.forEach((row, i) => {
    const own = row.dataset.kinds.split(" ");
    row.hidden = !texts[i].includes(words) || !wanted.every((kind) => own.includes(kind));
    shown += row.hidden ? 0 : 1;
  });
  document.getElementById("count").textContent = `${shown} of ${rows.length} utterances`;
}

search.addEventListener("input", filter);
kinds.forEach((box) => box.addEventListener("change", filter));
filter();
