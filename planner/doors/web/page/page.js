// The page: a question from the form, its job, its answer. All that is shown is made of text nodes,
// but for pictures and reports, which the server draws with every word in them escaped.

const form = document.getElementById("question");
const state = document.getElementById("state");
const outcome = document.getElementById("outcome");
const detail = document.getElementById("detail");
const more = document.getElementById("more");
const cancel = document.getElementById("cancel");
const sliding = document.getElementById("sliding");
const slid = document.getElementById("slid");
const slider = document.getElementById("slider");
const LIMIT = "limit.";
const LISTS = ["machines", "claims"];
const FORMS = JSON.parse(form.dataset.forms); // The fields of each question, as the server has them.
const MOST_RIVALS = 6;
const WAIT_S = 5;
const PAUSE_MS = 250;

let shown = null; // The job whose plan is shown.
let turn = 0; // Of questions that replace each other, the last.
let working = null; // The job under way.

// ── Making of elements ──────────────────────────────────────────────────────────────────────────

function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function drawn(html, kind) {
  const box = made("div", { class: kind, tabindex: "0" });
  box.innerHTML = html;
  return box;
}

function listed(title, lines) {
  if (!lines.length) return [];
  const items = lines.map((line) => made("li", {}, line));
  const list = made("ul", { class: "doubts" }, ...items);
  return title ? [made("h3", {}, title), list] : [list];
}

function folded(title, ...children) {
  return made("details", {}, made("summary", {}, title), ...children);
}

function tabled(header, rows) {
  const head = made("tr", {}, ...header.map((word) => made("th", { scope: "col" }, word)));
  const body = rows.map((row) => made("tr", {}, ...row.map((cell) => made("td", {}, cell))));
  return made("div", { class: "wide" }, made("table", {}, made("thead", {}, head), made("tbody", {}, ...body)));
}

// ── The question ────────────────────────────────────────────────────────────────────────────────

function asked(from, kind) {
  const fields = new URLSearchParams();
  for (const [name, value] of new FormData(from)) {
    if (FORMS[kind].includes(name) && value.trim()) fields.set(name, value.trim());
  }
  return fields;
}

function listOf(text) {
  return text.split(",").map((part) => part.trim()).filter(Boolean);
}

function questionOf(fields, kind) {
  const question = {};
  for (const name of FORMS[kind]) {
    const value = fields.get(name);
    if (!value) continue;
    if (name.startsWith(LIMIT)) (question.limits ??= {})[name.slice(LIMIT.length)] = value;
    else if (name === "price") question.prices = { [fields.get("machine") ?? ""]: value };
    else if (name === "draft") question.drafts = { model: value };
    else question[name] = LISTS.includes(name) ? listOf(value) : value;
  }
  return question;
}

function fill(fields) {
  for (const one of document.forms) {
    for (const element of one.elements) {
      if (element.name && element.name !== "plain") {
        element.value = fields.get(element.name) ?? element.defaultValue ?? "";
        // A fold is opened by what no other part of the page has.
        const isOwn = one === form || !form.elements[element.name];
        if (fields.has(element.name) && isOwn) element.closest("details")?.setAttribute("open", "");
      }
    }
  }
  showSlider();
}

// ── Jobs ────────────────────────────────────────────────────────────────────────────────────────

async function fetched(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; is planner serve still running?");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function answerTo(kind, question, mine) {
  let job = await fetched(`/api/${kind}?wait=${WAIT_S}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
  });
  working = job.id;
  while (job.status === "waiting" || job.status === "running") {
    if (mine()) tell(job);
    else fetch(`/api/jobs/${job.id}`, { method: "DELETE" });
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    job = await fetched(`/api/jobs/${job.id}?wait=1`);
  }
  if (job.error) throw new Error(job.error);
  return job;
}

function tell(job) {
  const text =
    job.status === "waiting"
      ? `Waiting: ${job.ahead} questions are before this one.`
      : `At work: ${job.elapsed_s.toFixed(0)} of at most ${job.time_limit_s.toFixed(0)} s${job.so_far ? `; ${job.so_far.text}` : ""}.`;
  if (state.textContent !== text) state.textContent = text;
}

async function ask(kind, question, place, show) {
  const now = ++turn;
  const mine = () => now === turn;
  if (working) fetch(`/api/jobs/${working}`, { method: "DELETE" });
  working = null;
  place.classList.add("stale");
  state.textContent = "At work.";
  cancel.hidden = false;
  try {
    const job = await answerTo(kind, question, mine);
    if (!mine()) return;
    place.replaceChildren(...show(job));
    state.textContent = `Answered in ${job.elapsed_s.toFixed(1)} s.`;
    if (place === detail) detail.scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (!mine()) return;
    place.replaceChildren(made("p", { class: "refusal", role: "alert" }, error.message));
    state.textContent = "";
    if (place === outcome) more.hidden = true;
  }
  place.classList.remove("stale");
  cancel.hidden = true;
  working = null;
}

cancel.addEventListener("click", () => {
  if (working) fetch(`/api/jobs/${working}`, { method: "DELETE" });
  turn += 1;
  working = null;
  cancel.hidden = true;
  outcome.classList.remove("stale");
  detail.classList.remove("stale");
  state.textContent = "Cancelled.";
});

// ── Answers ─────────────────────────────────────────────────────────────────────────────────────

function band(figure) {
  if (figure.low === null || figure.high === null || figure.value === null) return "";
  const most = 1.1 * Math.max(figure.high, figure.value);
  const box = made("div", { class: "band", role: "img", "aria-label": figure.range_text });
  const bar = made("i");
  bar.style.left = `${(100 * figure.low) / most}%`;
  bar.style.right = `${100 - (100 * figure.high) / most}%`;
  const mark = made("b");
  mark.style.left = `${(100 * figure.value) / most}%`;
  box.append(bar, mark);
  return box;
}

function figuresTable(figures, best) {
  const rows = figures.map((one) =>
    made(
      "tr",
      one.field === best ? { class: "best" } : {},
      made("th", { scope: "row" }, one.title),
      made("td", { class: "figure" }, one.text),
      made("td", { class: "figure" }, one.range_text),
      made("td", { class: "bands" }, band(one)),
    ),
  );
  const head = made(
    "tr",
    {},
    made("th", { scope: "col" }, "figure"),
    made("th", { scope: "col" }, "predicted"),
    made("th", { scope: "col" }, "4 of 5 measurements"),
    made("th", { class: "bands" }),
  );
  const table = made("table", { class: "figures" }, made("thead", {}, head), made("tbody", {}, ...rows));
  return made("div", { class: "wide" }, table);
}

// What comes next is asked of this answer.
function offer(id, machine, question) {
  shown = { id, question: { ...question, machine } };
  more.hidden = false;
  detail.replaceChildren();
  const link = document.getElementById("certificate");
  link.href = `/api/answers/${id}/certificate`;
  link.download = `${id}.certificate.json`;
}

function offering(handle, machine, question) {
  if (!handle) return machine;
  const button = made("button", { type: "button", class: "pick" }, machine);
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll(".pick")) other.removeAttribute("aria-pressed");
    button.setAttribute("aria-pressed", "true");
    offer(handle, machine, question);
  });
  return button;
}

function usd(value) {
  return value === null ? "not known" : `${value.toPrecision(3)} USD`;
}

function defaultsOf({ not_given }) {
  const taken = Object.entries(not_given).map(([name, value]) => `${name} ${value}`);
  return taken.length ? [made("p", { class: "quiet" }, `defaults used: ${taken.join(", ")}`)] : [];
}

function showSize({ answer, question }) {
  more.hidden = true;
  const rows = answer.machines.map((one) => [
    offering(one.answer, one.machine, question),
    one.chips === null ? one.status : String(one.chips),
    String(one.bound_chips),
    usd(one.usd_per_hour),
    usd(one.usd_per_million_tokens),
    one.plan || one.reason,
  ]);
  return [
    made("h2", {}, "How few chips"),
    tabled(["machine", "chips", "proved: at least", "an hour", "a million tokens", "plan, or why none"], rows),
    ...listed("Limits", answer.limits),
    ...listed("To know", answer.notes),
    ...defaultsOf(answer),
    made("p", { class: "quiet" }, "Press a machine for more of its plan."),
    folded("in words", made("pre", {}, answer.summary)),
  ];
}

function showCompare({ answer, question }) {
  more.hidden = true;
  const rows = answer.plans.map((one) => [
    offering(one.answer, one.machine, question),
    one.objective.text,
    one.objective.range_text,
    String(one.chips),
    one.plan,
    one.evidence,
  ]);
  return [
    made("h2", {}, `The best plan on each machine, by ${answer.plans[0].objective.title}`),
    tabled(["machine", "predicted", "4 of 5 measurements", "chips", "plan", "evidence"], rows),
    ...listed("Without a plan", answer.refused.map(([machine, reason]) => `${machine}: ${reason}`)),
    ...listed("To know", answer.notes),
    ...defaultsOf(answer),
    made("p", { class: "quiet" }, "Press a machine for more of its plan."),
    folded("in words", made("pre", {}, answer.summary)),
  ];
}

function showScore({ answer }) {
  more.hidden = true;
  return [
    made("h2", {}, `${answer.model} on ${answer.chips} chips of ${answer.machine}, ${answer.software}`),
    made("p", { class: "plan" }, `plan: ${answer.plan}`),
    ...listed("Why it cannot run", answer.faults),
    figuresTable(answer.figures, ""),
    made("p", { class: "quiet" }, `evidence: ${answer.evidence}. Nothing is proved of it: better plans may exist.`),
    ...defaultsOf(answer),
    ...listed("Doubts", answer.doubts),
    folded("taken for granted", ...listed("", answer.assumptions)),
  ];
}

function showCommand({ answer, question }) {
  more.hidden = true;
  const gain = (fraction) => (fraction === null ? "not found" : `${(100 * fraction).toPrecision(3)} %`);
  const bests = [
    [answer.answer_on_same_chips, "on as many chips", answer.gain_on_same_chips_fraction],
    [answer.answer_on_machine, "on the whole machine", answer.gain_on_machine_fraction],
  ].filter(([handle]) => handle);
  const rows = bests.map(([handle, where, fraction]) => {
    const button = offering(handle, answer.machine, question);
    button.textContent = where;
    return [button, gain(fraction)];
  });
  return [
    made("h2", {}, `${answer.engine}: ${answer.model} on ${answer.chips} chips of ${answer.machine}`),
    made("p", { class: "plan" }, `plan: ${answer.plan}`),
    ...listed("Why the engine refuses it", answer.faults),
    ...(answer.figures.length ? [figuresTable(answer.figures, answer.field)] : []),
    ...(rows.length ? [made("h3", {}, "The best plans of this engine"), tabled(["plan", "better by"], rows)] : []),
    ...defaultsOf(answer),
    folded("what was read", ...listed("", answer.read), ...listed("Not priced", answer.passed_over), ...listed("Taken for granted", answer.assumed)),
  ];
}

function showAudit({ answer }) {
  more.hidden = true;
  const rows = answer.verdicts.map((one) => [one.quote, one.verdict, one.found, one.why]);
  return [
    made("h2", {}, "Claims"),
    made("p", { class: "proof" }, answer.summary),
    ...(answer.complete ? [] : [made("p", { class: "quiet" }, "Time ran out before all were looked at.")]),
    tabled(["claim", "verdict", "found", "why"], rows),
  ];
}

function showPlan(job) {
  const told = job.answer;
  offer(job.id, job.question.machine, job.question);
  return [
    made("h2", {}, `${told.model} on ${told.chips} chips of ${told.machine}, ${told.software}`),
    made("p", { class: "proof" }, told.proof),
    made("p", { class: "plan" }, `plan: ${told.plan}`),
    made("p", { class: "quiet" }, told.space),
    figuresTable(told.figures, told.objective.field),
    ...listed("Limits", told.limits),
    made("p", { class: "quiet" }, `evidence: ${told.evidence}`),
    ...defaultsOf(told),
    ...listed("Doubts", told.doubts),
    folded("taken for granted", ...listed("", told.assumptions)),
  ];
}

function showWhy({ answer }) {
  const share = (one) => (one.effect === null ? "not found in time" : `${(100 * one.effect).toPrecision(3)} %${one.proved ? "" : ", not proved"}`);
  return [
    made("h2", {}, "Why"),
    ...listed("What binds", answer.binding),
    made("h3", {}, "What more of each would buy"),
    tabled(["change", "better by"], answer.more.map((one) => [one.what, share(one)])),
    made("h3", {}, "Other shapes"),
    tabled(["shape", "worse by"], answer.shapes.map((one) => [one.what, share(one)])),
  ];
}

function showSummary({ kind, answer }) {
  return [made("h2", {}, kind), made("pre", {}, answer.summary)];
}

function showFront({ answer }) {
  const rows = answer.rows.map((row) => [...row.figures.map((one) => one.text), String(row.chips), row.plan]);
  const titles = answer.rows.length ? answer.rows[0].figures.map((one) => one.title) : [];
  return [
    made("h2", {}, "Front"),
    drawn(answer.svg, "picture"),
    made("p", { class: "quiet" }, answer.space),
    folded(`its ${rows.length} plans`, tabled([...titles, "chips", "plan"], rows)),
  ];
}

function showMap({ answer }) {
  return [made("h2", {}, "Map"), drawn(answer.svg, "picture"), made("p", { class: "quiet" }, answer.summary)];
}

function showReport({ answer }) {
  return [made("h2", {}, "All of it"), drawn(answer.html, "report")];
}

function showExport({ answer }) {
  const parts = [made("h2", {}, `${answer.engine} ${answer.version}`)];
  for (const [name, text] of answer.files) {
    const copy = made("button", { type: "button" }, "Copy");
    const pre = made("pre", { tabindex: "0" }, text);
    copy.addEventListener("click", () => copied(text, pre, copy));
    parts.push(made("div", { class: "file" }, made("h3", {}, name), copy));
    parts.push(name.endsWith(".json") ? folded("show", pre) : pre);
  }
  return [...parts, ...listed("To know", answer.notes)];
}

async function copied(text, pre, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Over plain HTTP from another machine browsers give no clipboard: the text is selected instead.
    getSelection().selectAllChildren(pre);
    button.textContent = "Selected: press Ctrl+C";
  }
}

const SHOWS = {
  plan: showPlan,
  size: showSize,
  compare: showCompare,
  score: showScore,
  score_command: showCommand,
  audit: showAudit,
  explain: showWhy,
  verify: showSummary,
  pareto: showFront,
  map: showMap,
  report: showReport,
  export: showExport,
};

function questionAfter(kind) {
  const { machine, prompt_tokens, output_tokens } = shown.question;
  if (kind === "pareto") return { ...questionOf(asked(form, "pareto"), "pareto"), machine };
  if (kind === "map") {
    // As many chips are taken of each as are best.
    const first = machine.replace(/:\d+$/, "");
    const rivals = listOf(document.getElementById("rivals").value).filter((one) => one !== first);
    return { machines: [first, ...rivals].slice(0, MOST_RIVALS), prompt_tokens, output_tokens };
  }
  if (kind === "export") return { answer: shown.id, engine: document.getElementById("engine").value };
  return { answer: shown.id };
}

more.addEventListener("click", (event) => {
  const kind = event.target.dataset.ask;
  if (kind && shown) ask(kind, questionAfter(kind), detail, SHOWS[kind]);
});

// ── Form, slider, address ───────────────────────────────────────────────────────────────────────

function question(kind, fields, remember) {
  const named = kind === "plan" ? "" : `ask=${kind}&`;
  const address = `/?${named}${fields}`;
  if (remember === "push" && address !== location.pathname + location.search) history.pushState(null, "", address);
  if (remember === "replace") history.replaceState(null, "", address);
  detail.replaceChildren();
  return ask(kind, questionOf(fields, kind), outcome, SHOWS[kind]);
}

for (const one of document.forms) {
  one.addEventListener("submit", (event) => {
    event.preventDefault();
    const kind = event.submitter?.value ?? "plan";
    question(kind, asked(one, kind), "push");
    if (one !== form || kind !== "plan") state.scrollIntoView({ block: "nearest" });
  });
}

function showSlider() {
  const value = Number(form.elements[slid.value].value);
  if (value >= 1) slider.value = Math.round(Math.log2(value));
  document.getElementById("slid-name").textContent = slid.selectedOptions[0].textContent;
  sayValue();
}

function sayValue() {
  const value = String(2 ** Number(slider.value));
  document.getElementById("slid-value").value = value;
  slider.setAttribute("aria-valuetext", value);
}

let pause = 0;
slider.addEventListener("input", () => {
  sayValue();
  form.elements[slid.value].value = String(2 ** Number(slider.value));
  if (slid.value === "users") form.elements.requests_per_s.value = "";
  clearTimeout(pause);
  pause = setTimeout(() => form.reportValidity() && question("plan", asked(form, "plan"), "replace"), PAUSE_MS);
});
slid.addEventListener("change", showSlider);
form.addEventListener("change", (event) => event.target.name && showSlider());

function opened() {
  const fields = new URLSearchParams(location.search);
  fill(fields);
  const kind = fields.get("ask") ?? fields.get("plain") ?? (fields.has("model") && fields.has("machine") ? "plan" : "");
  if (kind in FORMS) question(kind, fields, "");
  else {
    turn += 1;
    outcome.replaceChildren();
    detail.replaceChildren();
    more.hidden = true;
    state.textContent = "";
  }
}

addEventListener("popstate", opened);
sliding.hidden = false;
showSlider();
if (location.search && !outcome.children.length) opened();
