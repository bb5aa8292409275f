"use strict";
// What a reader can do with report.html: filter, search and sort the studies, follow a count to its studies, enlarge
// an image, copy scores. Everything shown is in the page already; nothing is fetched and no text becomes HTML.

const $ = (id) => document.getElementById(id);
const STEP = 24; // studies that "Show more" adds
const cases = $("cases");
const { studies, texts, chips, kinds, orders } = JSON.parse($("data").content.textContent);
let limit = STEP;

// ---- a study's card; study_cards.py writes the same elements for the first studies

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children); // strings become text
  return element;
}

function chipOf({ words, look, keys }) {
  const className = `chip ${look}`.trim();
  return keys.length
    ? make("a", { class: className, href: `#errors:${keys[0]}` }, words)
    : make("span", { class: className }, words);
}

function pictureOf([caption, alt, source]) {
  if (!source) return make("p", {}, `${caption}: image not found`);
  const inner = [make("img", { src: source, alt }), make("span", {}, caption)];
  return make("button", { type: "button", class: "shot" }, ...inner);
}

function cell(text, name) {
  const pieces = [text].flat().map((piece, place) => (place % 2 ? make(name, {}, piece) : piece));
  return make("td", {}, ...pieces);
}

function rowOf(kind, left, right) {
  const [name, sign] = kinds[kind];
  const mark = make("td", { class: "mark" }, make("b", {}, sign), ` ${name}`);
  return make("tr", { class: name.replace(" ", "-") }, cell(texts[left], "del"), mark, cell(texts[right], "ins"));
}

function textsOf({ rows, further }) {
  if (!rows) return [];
  const names = ["Reference", "", "Report"].map((name) => make("th", {}, name));
  const [ofKind, left, right] = rows;
  const lines = ofKind.map((kind, line) => rowOf(kind, left[line], right[line]));
  const body = [make("thead", {}, make("tr", {}, ...names)), make("tbody", {}, ...lines)];
  if (right.every((number) => !texts[number].length)) body.unshift(make("caption", {}, "The report is empty."));
  const parts = [make("table", { class: "aligned" }, ...body)];
  if (further.length) {
    const words = `${further.length} further reference${further.length > 1 ? "s" : ""}`;
    parts.push(make("details", {}, make("summary", {}, words), ...further.map((text) => make("p", {}, text))));
  }
  return parts;
}

function cardOf(study) {
  const split = textsOf(study);
  if (study.pictures) split.unshift(make("div", { class: "images" }, ...study.pictures.map(pictureOf)));
  return make(
    "article",
    { class: "case" },
    make("h3", {}, make("span", {}, `Study ${study.id}`), make("span", { class: "soft" }, study.scores)),
    make("p", { class: "chips" }, ...study.chips.map((number) => chipOf(chips[number]))),
    make("div", { class: "split" }, ...split),
  );
}

// ---- studies: which are shown, and in which order

function wordsOf(study) {
  const [ofKind, left, right] = study.rows || [[], [], []];
  const rows = [...left, ...right].map((number) => [texts[number]].flat().join(""));
  rows.push(...ofKind.map((kind) => kinds[kind][0]));
  const captions = (study.pictures || []).map(([caption]) => caption);
  const remarks = study.chips.map((number) => chips[number].words);
  const parts = [`Study ${study.id}`, study.scores, ...remarks, ...captions, ...rows, ...(study.further || [])];
  return parts.join(" ").toLowerCase();
}

function matches(study, kind, finding, words) {
  if (kind || finding) {
    const fits = study.chips.flatMap((number) => chips[number].keys).some((key) => {
      const [ofKind, ofFinding] = key.split(":");
      return (!kind || ofKind === kind) && (!finding || ofFinding === finding);
    });
    if (!fits) return false;
  }
  if (!words.length) return true;
  study.words ??= wordsOf(study);
  return words.every((word) => study.words.includes(word));
}

function show() {
  const [kind, finding] = [$("kind").value, $("finding").value];
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fitting = orders[$("order").value].map((place) => studies[place])
    .filter((study) => matches(study, kind, finding, words));
  const shown = fitting.slice(0, limit);
  for (const study of shown) study.card ??= cardOf(study);
  cases.replaceChildren(...shown.map((study) => study.card));
  $("count").textContent = `${fitting.length.toLocaleString("en")} studies, ${shown.length} shown`;
  $("more").hidden = shown.length === fitting.length;
}

function again() {
  limit = STEP;
  show();
}

for (const id of ["kind", "finding", "order"]) $(id).addEventListener("change", again);
$("search").addEventListener("input", again);
$("kind").form.addEventListener("submit", (event) => event.preventDefault());
$("more").addEventListener("click", () => {
  limit += STEP;
  show();
});

// ---- links: #errors:missed:edema shows those studies, #card-bleu opens its card

function follow() {
  const hash = decodeURIComponent(location.hash.slice(1));
  const [first, kind, finding] = hash.split(":");
  if (first === "errors") {
    $("kind").value = kind;
    $("finding").value = finding || "";
    again();
    cases.closest("section").scrollIntoView();
    $("kind").focus({ preventScroll: true });
  } else if (first) {
    const card = $(first);
    if (card && card.closest("details")) {
      card.closest("details").open = true;
      card.scrollIntoView();
    }
  }
}

addEventListener("hashchange", follow);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link && link.getAttribute("href") === location.hash) follow(); // a second click on the same count
});

// ---- images: enlarged, the next one by arrow keys, window and level by dragging

const viewer = $("viewer");
const large = $("large");
const curves = [...document.querySelectorAll("#levels [slope]")];
let current = null;
let levels = { window: 1, level: 0.5 };

function setLevels(window_, level) {
  levels = { window: Math.min(4, Math.max(0.02, window_)), level: Math.min(1.5, Math.max(-0.5, level)) };
  for (const curve of curves) {
    curve.setAttribute("slope", 1 / levels.window);
    curve.setAttribute("intercept", 0.5 - levels.level / levels.window);
  }
  const percent = (value) => `${Math.round(100 * value)} %`;
  $("large-words").textContent = `${large.alt} · window ${percent(levels.window)}, level ${percent(levels.level)}`;
}

function enlarge(shot) {
  current = shot;
  const image = shot.querySelector("img");
  large.src = image.src;
  large.alt = image.alt;
  setLevels(1, 0.5);
  if (!viewer.open) viewer.showModal();
}

function step(by) {
  const shots = [...cases.querySelectorAll("article .shot")];
  const next = shots[shots.indexOf(current) + by];
  if (next) enlarge(next);
}

cases.addEventListener("click", (event) => {
  const shot = event.target.closest(".shot");
  if (shot) enlarge(shot);
});
viewer.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    event.preventDefault();
    step(event.key === "ArrowRight" ? 1 : -1);
  }
});
viewer.addEventListener("close", () => current && current.focus());
$("close").addEventListener("click", () => viewer.close());
large.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  const from = { x: event.clientX, y: event.clientY, ...levels };
  const size = large.clientWidth || 1;
  const move = (to) => setLevels(from.window + (to.clientX - from.x) / size, from.level + (to.clientY - from.y) / size);
  const end = () => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", end);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", end);
});
large.addEventListener("dblclick", () => setLevels(1, 0.5));

// ---- copying the ticked scores

const rounded = (text, digits = 3) => (text ? Number(text).toFixed(digits) : "");
const interval = (score) => (score.low ? `${rounded(score.low)} to ${rounded(score.high)}` : "");
const forLatex = (text) => text.replace(/[&%$#_{}]/g, "\\$&");
const forMarkdown = (text) => text.replace(/[|\\]/g, "\\$&");
const forCsv = (text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
const WRITERS = {
  LaTeX(name, scores) {
    const value = (s) => `${rounded(s.value)}${s.low ? ` {\\scriptsize [${rounded(s.low)}, ${rounded(s.high)}]}` : ""}`;
    const row = (cells) => `${cells.join(" & ")} \\\\`;
    return [
      `\\begin{tabular}{l${"r".repeat(scores.length)}}`,
      row(["", ...scores.map((s) => forLatex(s.plain))]),
      "\\hline",
      row([forLatex(name), ...scores.map(value)]),
      "\\end{tabular}",
    ].join("\n");
  },
  Markdown(name, scores) {
    const rows = scores.map((s) => [s.plain, rounded(s.value), interval(s), `${rounded(s.baselineValue)} ${s.baseline || ""}`]);
    const lines = [["score", name, "95 %", "best baseline"], ["---", "---:", "---", "---"], ...rows];
    return lines.map((cells) => `| ${cells.map((cell) => forMarkdown(cell.trim())).join(" | ")} |`).join("\n");
  },
  CSV(name, scores) {
    const rows = scores.map((s) => [s.name, name, s.value, s.low, s.high, s.better, s.baseline || "", s.baselineValue || ""]);
    const lines = [["score", "system", "value", "low", "high", "better", "baseline", "baseline_value"], ...rows];
    return lines.map((cells) => cells.map(forCsv).join(",")).join("\n") + "\n";
  },
};

async function copy(kind) {
  const scores = [...document.querySelectorAll(".tick:checked")].map((tick) => tick.dataset);
  const text = WRITERS[kind]($("identity").dataset.name, scores);
  const box = $("copied");
  box.value = text;
  box.hidden = false;
  box.focus();
  box.select();
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    done = document.execCommand("copy");
  }
  $("copy-status").textContent = `${scores.length} scores ${done ? "copied" : "selected below"} as ${kind}`;
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button.dataset.copy));
}

// ---- print: what is folded is printed too

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});

document.body.classList.add("scripted");
show();
follow();
