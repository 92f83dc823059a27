"use strict";
// The list of questions: filtered from the embedded data, drawn a page at a time, details only when they are opened.
// Texts of people and models reach the page through textContent only.
const data = JSON.parse(document.getElementById("data").textContent);
const [form, list, more, count] = ["filters", "list", "more", "count"].map((id) => document.getElementById(id));
const PAGE = 50;
let shown = [];

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

const outcomeOf = (answer) => data.outcomes[answer.outcome];
const kindOf = (outcome) => (outcome === "right" || outcome === "found" ? "right" : outcome === "not scored" ? "" : "wrong");
const signOf = (outcome) => ({ right: "✓ ", wrong: "✗ " })[kindOf(outcome)] || "· ";

function matches(question, wanted) {
  if (wanted.category && data.categories[question.category] !== wanted.category) return false;
  if (wanted.outcome) {
    const fits = question.answers.some((answer, place) => {
      if (!answer || (wanted.system && data.systems[place] !== wanted.system)) return false;
      return wanted.outcome === "not right" ? kindOf(outcomeOf(answer)) === "wrong" : outcomeOf(answer) === wanted.outcome;
    });
    if (!fits) return false;
  }
  return !wanted.find || textOf(question).includes(wanted.find.toLowerCase());
}

function textOf(question) {
  question.text ??= [question.id, question.question, question.gold, ...question.answers.map((answer) => answer?.said)]
    .join("\n").toLowerCase();
  return question.text;
}

function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  shown = data.questions.filter((question) => matches(question, wanted));
  list.replaceChildren();
  count.textContent = `${shown.length.toLocaleString("en")} of ${data.questions.length.toLocaleString("en")} questions`;
  draw();
}

function draw() {
  const from = list.children.length;
  list.append(...shown.slice(from, from + PAGE).map(rowOf));
  more.hidden = list.children.length >= shown.length;
}

function rowOf(question) {
  const chips = question.answers.map((answer, place) => {
    if (!answer) return null;
    const outcome = outcomeOf(answer);
    const chip = make("span", `chip ${kindOf(outcome)}`, signOf(outcome) + data.systems[place]);
    chip.title = `${data.systems[place]}: ${outcome}`;
    chip.setAttribute("aria-label", chip.title);
    chip.setAttribute("role", "img");
    return chip;
  });
  const id = make("span", "id", `${question.id} · ${data.categories[question.category]}`);
  const summary = make("summary", "", id, make("bdi", "ask", question.question), make("span", "chips", ...chips));
  return make("li", "", lazily(make("details", "", summary), () => detailOf(question)));
}

function lazily(details, content) {
  details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(content()));
  return details;
}

function detailOf(question) {
  const evidence = question.evidence.map((turn, place) => make("li", "hit", make("b", "", turn), " ", make("bdi", "", question.evidence_text[place] ?? "")));
  const cards = question.answers.map((answer, place) => answer && cardOf(answer, data.systems[place]));
  return make("div", "detail",
    make("p", "", make("b", "", "Gold: "), make("bdi", "", question.gold ?? "nothing is known (unanswerable)")),
    evidence.length ? make("ul", "seen", ...evidence) : make("p", "faint", "The question names no evidence."),
    make("div", "cards", ...cards));
}

function cardOf(answer, system) {
  const outcome = outcomeOf(answer);
  const scores = data.metrics.map((name, place) => [name, answer.scores[place]]).filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${value}`);
  if (answer.context !== null) scores.push(`${answer.context.toLocaleString("en")} context tokens`);
  const said = answer.error ? `Error: ${answer.error}` : answer.said ?? "(not answered)";
  return make("article", "card",
    make("header", "", make("h4", "", system), make("span", `chip ${kindOf(outcome)}`, signOf(outcome) + outcome)),
    make("p", "said", make("bdi", "", said)), make("p", "scores", scores.join(" · ")),
    answer.selected.length ? listOf(`${answer.selected.length} selected`, answer.selected, new Set(), (place) => place + 1) : null,
    answer.retrieved.length ? listOf(retrievedTitle(answer), answer.retrieved, new Set(answer.hits), (place) => rankOf(answer, place)) : null);
}

function retrievedTitle(answer) {
  const kept = answer.retrieved.length < answer.looked_at ? ` (${answer.retrieved.length} shown)` : "";
  const ranks = answer.hits.slice(0, 5).map((place) => rankOf(answer, place) ?? "a later rank").join(", ") + (answer.hits.length > 5 ? ", …" : "");
  return `${answer.looked_at} retrieved${kept}, ${answer.hits.length ? `evidence at ${ranks}` : "no evidence among them"}`;
}

// The first memories stand in their order; after them only those with evidence, whose rank may not be known.
function rankOf(answer, place) {
  const first = answer.retrieved.length - answer.later.length;
  return place < first ? place + 1 : answer.later[place - first];
}

function listOf(title, numbers, hits, rank) {
  return lazily(make("details", "", make("summary", "", title)), () =>
    make("ol", "seen", ...numbers.map((number, place) => seenOf(data.memories[number], hits.has(place), rank(place)))));
}

function seenOf([text, speaker, at, source], hit, rank) {
  const where = [at.slice(0, 10), speaker, source].filter(Boolean).join(" · ");
  const item = make("li", hit ? "hit" : "", hit ? make("span", "tag", "evidence ") : null, make("bdi", "", text), " ", make("span", "id", where));
  if (rank === null) item.classList.add("unranked");
  else item.value = rank;
  return item;
}

function fromHash() {
  const [place, query] = location.hash.split("?");
  if (place !== "#questions" || query === undefined) return;
  const wanted = new URLSearchParams(query);
  for (const name of ["find", "category", "system", "outcome"]) form.elements[name].value = wanted.get(name) ?? "";
  filter();
  document.getElementById("questions").scrollIntoView();
  if (wanted.has("open") && list.firstChild) list.querySelector("details").open = true;
}

function toHash() {
  const wanted = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  history.replaceState(null, "", `#questions?${wanted}`);
  filter();
}

for (const [name, options] of [["category", data.categories], ["system", data.systems], ["outcome", data.outcomes]]) {
  form.elements[name].append(...options.map((option) => make("option", "", option)));
}
form.addEventListener("input", toHash);
form.addEventListener("reset", () => setTimeout(toHash));
form.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", draw);
new IntersectionObserver((entries) => entries[0].isIntersecting && draw(), { rootMargin: "400px" }).observe(more);
addEventListener("hashchange", fromHash);
filter();
fromHash();
