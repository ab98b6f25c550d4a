// Filters, tables of probabilities, and attention maps. All text is set by textContent, so nothing is parsed as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const form = document.querySelector(".filters");
const turns = [...document.querySelectorAll(".turn")];
const dialogues = [...document.querySelectorAll(".dialogue")];
const percent = (thousandths) => (thousandths / 10).toFixed(1);

for (const dialogue of dialogues) {
  const name = dialogue.querySelector("h3").firstChild.textContent;
  for (const turn of dialogue.querySelectorAll(".turn")) {
    turn.words = `${turn.querySelector(".text").textContent} ${turn.dataset.utterance} ${name}`.toLowerCase();
  }
}

function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  const words = wanted.words.trim().toLowerCase();
  const keys = ["truth", "predicted", "verdict", "speaker", "led"].filter((key) => wanted[key]);
  let hits = 0;
  let places = 0;
  for (const dialogue of dialogues) {
    let any = false;
    for (const turn of dialogue.querySelectorAll(".turn")) {
      const hit = keys.every((key) => turn.dataset[key] === wanted[key]) && turn.words.includes(words);
      turn.hidden = !hit && !wanted.whole;
      turn.classList.toggle("dim", !hit);
      hits += hit;
      any ||= hit;
    }
    dialogue.hidden = !any;
    places += any;
  }
  form.querySelector("output").textContent =
    `${hits} of ${turns.length} turns, in ${places} of ${dialogues.length} dialogues`;
  document.querySelector(".none-left").hidden = hits > 0 || turns.length === 0;
}

// Typing sends `input`; a select changed by a screen reader or test driver may send only `change`.
for (const kind of ["input", "change"]) form.addEventListener(kind, filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(filter));
filter();

// A click on a cell of the confusion matrix filters for its utterances.
for (const cell of document.querySelectorAll(".confusion a")) {
  cell.addEventListener("click", () => {
    form.reset();
    form.elements.truth.value = cell.dataset.truth;
    form.elements.predicted.value = cell.dataset.predicted;
    setTimeout(filter);
  });
}

// A link to a turn clears filters that would hide it.
function visit() {
  const turn = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!turn?.matches(".turn")) return;
  if (turn.hidden || turn.closest(".dialogue").hidden) {
    form.reset();
    filter();
  }
  turn.querySelector("details").open = true;
  turn.scrollIntoView();
}
addEventListener("hashchange", visit);
visit();

// `toggle` does not bubble, so the listener captures it. Contents are built when first opened.
document.addEventListener("toggle", (event) => {
  const details = event.target;
  if (!details.open || details.dataset.built) return;
  if (details.matches(".turn > details")) showProbabilities(details);
  if (details.matches(".attention")) showAttention(details);
}, true);

function showProbabilities(details) {
  details.dataset.built = "yes";
  const turn = details.parentElement;
  const columns = data.turns[turn.dataset.row];
  const kept = data.kept[turn.dataset.row] ?? data.labels.map((_, i) => i);
  const more = make("div", details, undefined, "more");
  if (turn.dataset.clip) {
    const button = make("button", make("p", more), "▶ Play");
    button.type = "button";
    button.addEventListener("click", () => playClip(button, turn.dataset.clip));
  }
  const table = make("table", more);
  make("caption", table, `${turn.dataset.utterance}: ${kept.length < data.labels.length ? `the ${kept.length} most probable labels` : "probabilities"} in percent`);
  const head = make("tr", make("thead", table));
  make("th", head, "Label");
  make("th", head, data.modalities.length ? "All modalities" : "Probability", "n");
  for (const modality of data.modalities) make("th", head, `Without ${modality}`, "n");
  const body = make("tbody", table);
  kept.forEach((number, i) => {
    const row = make("tr", body);
    const name = make("span", make("th", row), data.labels[number], "emotion");
    name.style.setProperty("--c", `var(--e${number})`);
    for (const column of columns) {
      make("td", row, percent(column[i]), column[i] === Math.max(...column) ? "n top" : "n");
    }
  });
}

// As the recordings, the faces are requested only on demand.
document.querySelector(".faces button")?.addEventListener("click", (event) => {
  event.target.disabled = true;
  for (const item of document.querySelectorAll("[data-faces]")) {
    const picture = make("img", item.firstElementChild);
    picture.alt = "selected faces";
    picture.addEventListener("error", () => picture.replaceWith("no picture of a face"));
    picture.src = item.dataset.faces;
  }
});

// The recordings are requested only now, so that the page alone asks for nothing.
function playClip(button, clip) {
  const folder = document.querySelector(".folder input").value.trim();
  const video = document.createElement("video");
  video.controls = true;
  video.src = (folder && !folder.endsWith("/") ? `${folder}/` : folder) + clip;
  video.addEventListener("error", () => {
    const why = `This browser cannot play ${decodeURI(video.src)}. Check the folder of the recordings above.`;
    const place = video.parentElement;
    place.replaceChildren(button);
    make("span", place, why, "note");
  });
  button.parentElement.replaceChildren(video);
  video.play().catch(() => {}); // the error event reports what cannot be played
}

function showAttention(details) {
  details.dataset.built = "yes";
  const dialogue = details.closest(".dialogue");
  const pairs = make("fieldset", details, undefined, "pairs");
  const map = make("div", details, undefined, "map");
  const readout = make("p", details, undefined, "note readout");
  data.attention.forEach((pair, i) => {
    const label = make("label", pairs);
    const choice = make("input", label);
    Object.assign(choice, { type: "radio", name: `pair-${dialogue.dataset.dialogue}`, checked: i === 0 });
    label.append(`${pair.query} → ${pair.key}`);
    choice.addEventListener("change", () => drawMap(map, readout, dialogue, pair));
  });
  drawMap(map, readout, dialogue, data.attention[0]);
}

function drawMap(map, readout, dialogue, pair) {
  const weights = pair.maps[dialogue.dataset.dialogue];
  const rows = [...dialogue.querySelectorAll(".turn")];
  const names = rows.map((row) => `${row.querySelector(".turn-number").textContent} ${row.dataset.speaker}`);
  const left = 100;
  const cell = Math.max(9, Math.min(30, Math.floor((Math.min(map.clientWidth, 640) - left) / rows.length)));
  const top = 18;
  const highest = Math.max(1, ...weights.flat());
  const svg = element("svg", map, { width: left + cell * rows.length + 1, height: top + cell * rows.length + 1 });
  map.replaceChildren(svg);
  const every = Math.ceil(18 / cell);
  rows.forEach((row, i) => {
    if (i % every) return;
    const middle = (i + 0.5) * cell;
    const shown = names[i].length > 15 ? `${names[i].slice(0, 14)}…` : names[i];
    element("text", svg, { x: left - 8, y: top + middle + 4, "text-anchor": "end" }).textContent = shown;
    const number = row.querySelector(".turn-number").textContent;
    element("text", svg, { x: left + middle, y: top - 6, "text-anchor": "middle" }).textContent = number;
  });
  weights.forEach((line, i) => line.forEach((weight, j) => {
    const place = { x: left + j * cell, y: top + i * cell, width: cell - 1, height: cell - 1 };
    const square = element("rect", svg, { ...place, "fill-opacity": 0.04 + 0.96 * (weight / highest) });
    square.addEventListener("pointerenter", () => {
      readout.textContent =
        `${pair.query} of turn ${names[i]} attends to ${pair.key} of turn ${names[j]}: ${percent(weight)}%`;
    });
  }));
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Attention of ${pair.query} to ${pair.key}`);
  readout.textContent =
    `Rows are query turns (${pair.query}), columns are key turns (${pair.key}). ` +
    `Mean over heads of the last layer; the darkest cell is ${percent(highest)}%. Point at a cell for its value.`;
}

function element(tag, parent, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}
