"use strict";
// What a reader can do with report.html: filter, search and sort the studies, follow a count to its studies, enlarge
// an image, copy scores. Everything shown is in the page already; nothing is fetched and no text becomes HTML.

const $ = (id) => document.getElementById(id);
const STEP = 24; // studies that "Show more" adds
const cases = $("cases");
const articles = [...cases.children].map((element) => ({
  element,
  errors: (element.dataset.e || "").split(" ").filter(Boolean),
  places: element.dataset.r.split(" ").map(Number),
}));
let limit = STEP;

// ---- studies: which are shown, and in which order

function matches(article, kind, finding, words) {
  if (kind || finding) {
    const fits = article.errors.some((error) => {
      const [ofKind, ofFinding] = error.split(":");
      return (!kind || ofKind === kind) && (!finding || ofFinding === finding);
    });
    if (!fits) return false;
  }
  if (!words) return true;
  article.text = article.text || article.element.textContent.toLowerCase();
  return words.split(/\s+/).every((word) => article.text.includes(word));
}

function show() {
  const [kind, finding] = [$("kind").value, $("finding").value];
  const words = $("search").value.trim().toLowerCase();
  const order = Number($("order").value);
  const fitting = articles.filter((article) => matches(article, kind, finding, words));
  fitting.sort((one, two) => one.places[order] - two.places[order]);
  const shown = fitting.slice(0, limit);
  for (const article of articles) article.element.hidden = true;
  for (const article of shown) {
    article.element.hidden = false;
    cases.append(article.element);
  }
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
  const shots = [...cases.querySelectorAll("article:not([hidden]) .shot")];
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
