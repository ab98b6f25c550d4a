// Play turns, label them by click or key, filter them, and save a csv file. textContent sets all text: no HTML is parsed.
const rows = JSON.parse(document.getElementById("rows").textContent);
const player = document.querySelector("video");
const trouble = document.querySelector(".trouble");
const form = document.querySelector(".find");
const filters = document.querySelector(".fold");
const choices = [...document.querySelectorAll(".choice button")];
const labels = choices.map((button) => button.dataset.label);
const takesLabels = !document.querySelector(".choice").hidden;
const between = document.body.dataset.several; // between the labels of a turn, if it may have several
const keys = "123456789qwetyuiopasdfghlzxcvbnm"; // without j, k and r, which have another meaning
const lanes = [...document.querySelectorAll(".lanes")];
const dialogues = [...document.querySelectorAll("section[id^=dialogue-]")];
const turns = [...document.querySelectorAll(".turn")].map((item) => ({
  item,
  ...item.dataset,
  start: Number(item.dataset.start),
  end: item.dataset.end === "" ? Infinity : Number(item.dataset.end),
  first: item.dataset.label,
  words: `${item.querySelector(".words").textContent} ${item.dataset.speaker} ${item.dataset.utterance}`.toLowerCase(),
}));
document.querySelectorAll(".lane button").forEach((block) => { turns[block.dataset.turn].block = block; });
// A browser that blocks storage forgets the labels when the page is closed.
const memory = (() => {
  try { return localStorage; } catch {
    return { getItem: () => null, setItem() {}, removeItem() {} };
  }
})();
const store = `emofuse ${document.body.dataset.key}`;
const given = new Map(); // utterance → the label that a person chose, which may be the one shown first
let selected = turns[0];
let source = player.getAttribute("src") ?? "";
let saved = true;

// Playback

function play(turn) {
  select(turn);
  turn.item.scrollIntoView({ block: "nearest" });
  if (!turn.source) return;
  if (turn.source !== source) {
    source = turn.source;
    player.src = source;
    trouble.hidden = true;
  }
  const begin = () => {
    player.currentTime = turn.start;
    player.play().catch(() => {}); // browsers may block autoplay; the position is set anyway
  };
  if (player.readyState > 0) begin();
  else player.addEventListener("loadedmetadata", begin, { once: true });
}

function select(turn) {
  selected.item.classList.remove("selected");
  selected = turn;
  turn.item.classList.add("selected");
  const words = [turn.speaker, turn.item.querySelector(".words").textContent].filter(Boolean).join(": ");
  document.querySelector(".current").textContent = words;
  for (const button of choices) button.setAttribute("aria-pressed", String(parts(turn.label).includes(button.dataset.label)));
}

function follow() {
  const at = player.currentTime;
  const now = turns.filter((turn) => turn.source === source && at >= turn.start && at < turn.end);
  for (const turn of turns) mark(turn, now.includes(turn));
  if (form.elements.step.checked) {
    // A selected turn that has just ended waits for its label.
    if (!player.paused && selected.source === source && at >= selected.end) player.pause();
  } else if (form.elements.follow.checked && !player.paused && now.length && !now.includes(selected)) {
    select(now.at(-1));
    selected.item.scrollIntoView({ block: "nearest" });
  }
  for (const lane of lanes) {
    const here = now.some((turn) => lane.contains(turn.block)) && "timed" in lane.dataset;
    const share = (at - Number(lane.dataset.first)) / Number(lane.dataset.whole);
    lane.style.setProperty("--head", here ? String(share) : "-1");
  }
}

function mark(turn, now) {
  if (turn.now === now) return;
  turn.now = now;
  turn.item.classList.toggle("now", now);
  turn.block.classList.toggle("now", now);
}

function step(by) {
  const shown = turns.filter((turn) => !turn.item.hidden);
  const next = shown.includes(selected) ? shown[shown.indexOf(selected) + by] : shown[0];
  if (next) play(next);
}

// Labels

const parts = (label) => (between ? label.split(between) : [label]);

// With several labels a choice adds or removes one.
function pick(label) {
  const chosen = parts(selected.label);
  if (!between || label === "") return choose(label);
  const on = (name) => name !== "" && chosen.includes(name) !== (name === label);
  return choose(labels.filter(on).join(between), false);
}

function choose(label, next = true) {
  if (!takesLabels) return;
  given.set(selected.utterance, label);
  saved = false;
  memory.setItem(store, JSON.stringify([...given]));
  show(selected);
  select(selected);
  summarise();
  if (next && form.elements.step.checked) step(1);
}

function show(turn) {
  turn.label = given.get(turn.utterance) ?? turn.first;
  turn.item.classList.toggle("changed", given.has(turn.utterance));
  if (turn.item.dataset.label === turn.label) return;
  turn.item.dataset.label = turn.label;
  const name = turn.label || "no label";
  const place = turn.item.querySelector(".label");
  place.replaceChildren();
  for (const part of parts(turn.label)) make("span", place, part || name, part && "emotion").style.setProperty("--c", colour(part));
  turn.block.style.setProperty("--c", colour(parts(turn.label)[0]));
  turn.block.title = `${turn.item.querySelector(".at").textContent} ${turn.speaker}: ${name}`;
}

const colour = (label) => (label ? `var(--e${labels.indexOf(label)})` : "var(--none)");

// Each speaker's share of time by label; of turns, if the length of a turn is unknown.
function summarise() {
  if (!takesLabels) return;
  const known = turns.every((turn) => turn.end < Infinity);
  document.querySelector(".unit").textContent = known ? "time" : "turns";
  const found = new Map();
  for (const turn of turns) {
    const one = found.get(turn.speaker) ?? { count: 0, seconds: 0, parts: new Map() };
    const amount = known ? turn.end - turn.start : 1;
    one.count += 1;
    one.seconds += amount;
    for (const part of parts(turn.label)) one.parts.set(part, (one.parts.get(part) ?? 0) + amount);
    found.set(turn.speaker, one);
  }
  const body = document.querySelector(".summary tbody");
  body.replaceChildren();
  for (const [speaker, one] of found) {
    const row = make("tr", body);
    const button = make("button", make("th", row), speaker || "(no name)");
    button.type = "button";
    button.addEventListener("click", () => {
      form.elements.speaker.value = form.elements.speaker.value === speaker ? "*" : speaker;
      filter();
    });
    make("td", row, String(one.count), "n");
    make("td", row, known ? clock(one.seconds) : "–", "n");
    const chart = make("td", row, undefined, "chart");
    const bar = make("div", chart, undefined, "bar");
    const words = make("p", chart, undefined, "shares");
    for (const label of labels.filter((name) => one.parts.has(name))) {
      const share = one.parts.get(label) / (one.seconds || 1);
      const part = make("i", bar);
      part.style.width = `${100 * share}%`;
      part.style.background = colour(label);
      make("span", words, `${label || "no label"} ${Math.round(100 * share)}%`, "emotion").style.setProperty("--c", colour(label));
    }
  }
  document.querySelector(".undo").hidden = given.size === 0;
  document.querySelector(".count").textContent =
    given.size === 0 ? "" : `${given.size} labelled by you${saved ? "" : ", not saved"}`;
}

function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// Filters

function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  const words = wanted.words.trim().toLowerCase();
  let hits = 0;
  for (const turn of turns) {
    const state = wanted.state === "*"
      || (wanted.state === "changed" ? given.has(turn.utterance) : "flagged" in turn.item.dataset);
    const hit = state && turn.words.includes(words) && ["*", ...parts(turn.label)].includes(wanted.label)
      && ["*", turn.speaker].includes(wanted.speaker);
    turn.item.hidden = !hit;
    turn.block.classList.toggle("dim", !hit);
    hits += hit;
  }
  for (const dialogue of dialogues) dialogue.hidden = !dialogue.querySelector(".turn:not([hidden])");
  const count = `${hits} of ${turns.length} turns`;
  form.querySelector("output").textContent = count;
  // The count is hidden with the filters, so the heading says when they hide turns.
  filters.querySelector(".hits").textContent = hits < turns.length ? `(${count})` : "";
  document.querySelector(".none-left").hidden = hits > 0;
}

function find() {
  filters.open = true;
  form.elements.words.focus();
}

// The csv file

function csv() {
  const guessed = document.querySelector(".guess") !== null;
  const names = [...Object.keys(rows[0]), "emotion", "labelled_by", ...(guessed ? ["model_label"] : [])];
  const quoted = (value) => (/[",\r\n]|^\s|\s$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = turns.map((turn, i) => [
    ...Object.values(rows[i]),
    turn.label,
    turn.label === "" ? "" : given.has(turn.utterance) ? "person" : guessed ? "model" : "corpus",
    ...(guessed ? [turn.first] : []),
  ]);
  // Excel takes a file for UTF-8 only if it begins with a byte order mark.
  return `\ufeff${[names, ...lines].map((line) => line.map(quoted).join(",")).join("\r\n")}\r\n`;
}

function save() {
  const href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href, download: "annotations.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(href));
  saved = true;
  summarise();
}

// Events

for (const turn of turns) {
  turn.item.querySelector(".go").addEventListener("click", () => play(turn));
  turn.block.addEventListener("click", () => play(turn));
}
choices.forEach((button, i) => {
  button.querySelector("kbd").textContent = button.dataset.label === "" ? "0" : keys[i] ?? "";
  button.addEventListener("click", () => {
    button.blur(); // so that the next Space plays
    pick(button.dataset.label);
  });
});
for (const event of ["timeupdate", "seeked"]) player.addEventListener(event, follow);
// `timeupdate` comes four times a second, which would play a fifth of a second of the next turn.
player.addEventListener("play", function tick() {
  follow();
  if (!player.paused) requestAnimationFrame(tick);
});
player.addEventListener("loadedmetadata", () => player.classList.toggle("sound", player.videoWidth === 0));
player.addEventListener("error", () => {
  trouble.hidden = false;
  trouble.querySelector("code").textContent = decodeURIComponent(source);
});
// Typing sends `input`; a select changed by a screen reader or test driver may send only `change`.
for (const kind of ["input", "change"]) form.addEventListener(kind, filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(filter));
document.querySelector(".csv").addEventListener("click", save);
document.querySelector(".undo").addEventListener("click", () => {
  if (!confirm(`Remove your ${given.size} labels from this page?`)) return;
  given.clear();
  memory.removeItem(store);
  saved = true;
  turns.forEach(show);
  select(selected);
  summarise();
  filter();
});

const actions = {
  " ": () => (player.paused ? (player.currentTime >= selected.end ? play(selected) : player.play()) : player.pause()),
  ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
  Enter: () => choose(selected.label), r: () => play(selected), "/": find,
  0: () => choose(""), Backspace: () => choose(""), Delete: () => choose(""),
};

// The video and the turns' buttons have keys of their own, so the page takes its keys first. Other controls keep theirs.
addEventListener("keydown", (event) => {
  if (event.target.closest?.(".fold, .save, .keys, .summary")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const at = keys.indexOf(event.key);
  const action = actions[event.key] ?? (at >= 0 && labels[at] ? () => pick(labels[at]) : undefined);
  if (!action) return;
  event.preventDefault();
  event.stopPropagation();
  action();
}, true);
addEventListener("keyup", (event) => {
  if (event.key === " " && event.target.closest?.(".talk .said, .player, .choice")) event.preventDefault();
}, true);
// Sticky parts must not cover a turn that is scrolled into view.
const size = new ResizeObserver(() => {
  document.body.style.setProperty("--player", `${document.querySelector(".player").offsetHeight}px`);
  for (const lane of lanes) lane.parentElement.style.setProperty("--lanes", `${lane.offsetHeight}px`);
});
[document.querySelector(".player"), ...lanes].forEach((element) => size.observe(element));

// On a narrow screen the turns come first, so what stands above them begins folded. A wide screen always has its filters.
const narrow = matchMedia("screen and (max-width: 900px)");
const fold = () => { filters.open = !narrow.matches; };
narrow.addEventListener("change", fold);
fold();
if (narrow.matches) document.querySelector(".summary details").open = false;

for (const [utterance, label] of JSON.parse(memory.getItem(store) ?? "[]")) {
  if (parts(label).every((part) => labels.includes(part))) given.set(utterance, label);
}
turns.forEach(show);
select(turns[0]);
summarise();
filter();
