"use strict";
// A click on a turn plays it. The current turn is highlighted while a recording plays.
const player = document.querySelector("video");
const trouble = document.querySelector(".trouble");
const turns = [...document.querySelectorAll("button[data-start]")];
let shown = player.getAttribute("src");

function play(turn) {
  if (!turn.dataset.source) return;
  const start = Number(turn.dataset.start);
  if (turn.dataset.source !== shown) {
    shown = turn.dataset.source;
    player.src = shown;
    trouble.hidden = true;
  }
  const seek = () => {
    player.currentTime = start;
    player.play().catch(() => {}); // browsers may block autoplay; the position is set anyway
  };
  if (player.readyState > 0) seek();
  else player.addEventListener("loadedmetadata", seek, { once: true });
}

function mark() {
  for (const turn of turns) {
    const end = turn.dataset.end === "" ? Infinity : Number(turn.dataset.end);
    const now = turn.dataset.source === shown && player.currentTime >= Number(turn.dataset.start) && player.currentTime < end;
    turn.classList.toggle("now", now);
  }
}

for (const turn of turns) turn.addEventListener("click", () => play(turn));
for (const event of ["timeupdate", "seeked"]) player.addEventListener(event, mark);
player.addEventListener("error", () => {
  trouble.hidden = false;
  trouble.querySelector("code").textContent = decodeURIComponent(shown);
});
