// One episode: who it is, its credit at a glance, and its transcript step by step.

let current = null;

function showEpisode(episode) {
  current = episode;
  state.chosen = episode.place;
  const view = $("episode");
  const steps = el("ol", { class: "steps" }, episode.steps.map((one, k) => stepCard(episode, one, k)));
  view.replaceChildren(heading(episode), ...[overview(episode)].filter(Boolean), steps);
  view.scrollTop = 0;
  document.body.classList.add("open");
  drawRows();
}

function heading(episode) {
  const source = data.sources[episode.source];
  const facts = [
    ["task", episode.task], ["type", nice(episode.type)], ["folder", sourceName(source)],
    ["update", episode.update], ["group", `${episode.group}, member ${episode.member}`],
    ["seed", episode.seed], ["return", plain(episode.return)], ["steps", episode.steps.length - 1],
  ];
  return el("header", { class: "heading" },
    el("button", { type: "button", class: "back", onclick: () => go("list") }, "‹ Episodes"),
    el("h2", { dir: "auto" }, el("span", { class: `badge ${episode.outcome}` }, episode.outcome),
      (episode.goal || episode.task).slice(0, 500)),
    el("dl", { class: "facts" }, facts.map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, String(value).slice(0, 200))))),
    siblings(episode));
}

// The other attempts that this one is compared with.
function siblings(episode) {
  const group = data.episodes.filter((one) => one.source === episode.source && one.run === episode.run
    && one.update === episode.update && one.group === episode.group);
  if (group.length < 2) return null;
  return el("div", { class: "siblings" }, el("span", { class: "quiet" }, "its group"), group.map((one) =>
    el("button", {
      type: "button", class: `dot ${one.outcome}`, "aria-current": one === episode ? "true" : null,
      title: `member ${one.member}: ${one.outcome}, ${one.steps.length - 1} steps`,
      "aria-label": `member ${one.member}: ${one.outcome}`, onclick: () => choose(one.place),
    })));
}

function stepCard(episode, one, k) {
  if (k === 0) {
    return el("li", { class: "step reset", "data-step": 0 }, el("span", { class: "index" }, "0"),
      el("div", { class: "body" }, longText(one[OBSERVATION], "observation")));
  }
  const command = one[ACTION] ?? one[RESPONSE];
  const tokens = episode.tokens?.[k - 1] ?? null;
  const body = el("div", { class: "body" },
    el("div", { class: "said" }, longText(command || "(no command)", command ? "command" : "command none"),
      el("div", { class: "told" }, badges(episode, k))),
    one[ACTION] === null ? null : longText(one[RESPONSE], "response"),
    tokens ? tokenLines(tokens) : null,
    longText(one[OBSERVATION], "observation"),
    one[NOTE] ? longText(`nothing found: ${one[NOTE]}`, "quiet") : null,
    one[ERROR] ? longText(one[ERROR], "failure") : null);
  const credit = creditOf(episode, k);
  const card = el("li", { class: "step", "data-step": k, onclick: () => markStep(k) },
    el("span", { class: "index" }, k), body, credit);
  return card;
}

function creditOf(episode, k) {
  const lines = tracks(episode);
  if (!lines.length) return null;
  return el("div", { class: "credit" }, lines.map(([label, kind, values]) => tinted(
    el("div", { class: `value ${kind}`, title: label },
      el("small", {}, kind === "truth" ? "truth" : label),
      el("b", {}, number(values[k - 1], kind === "truth" && Number.isInteger(values[k - 1]) ? 0 : 2))),
    values[k - 1], largest(values))));
}

function badges(episode, k) {
  const one = episode.steps[k], before = episode.steps[k - 1][DISTANCE], after = one[DISTANCE];
  const found = [];
  if (!one[VALID]) found.push(el("span", { class: "chip bad" }, "invalid"));
  if (one[KIND] && one[KIND] !== "act" && one[KIND] !== "invalid") found.push(el("span", { class: "chip" }, one[KIND]));
  if (one[REWARD]) found.push(el("span", { class: "chip" }, `reward ${plain(one[REWARD])}`));
  if (after !== UNKNOWN) {
    const shown = (distance) => distance === UNREACHABLE ? "∞" : distance;
    const kind = after === before ? "" : after === UNREACHABLE || (before >= 0 && after > before) ? " bad" : " good";
    found.push(el("span", { class: `chip distance-chip${kind}`, title: "optimal distance before and after the step" },
      `${shown(before)} → ${shown(after)}`));
  }
  return found;
}

// The response token by token, once for each method whose credit differs among them, and for the gap.
function tokenLines(tokens) {
  const lines = data.methods.map((name, k) => [name, tokens.credit[k]]);
  if (tokens.gap) lines.push(["teacher − student", tokens.gap]);
  return el("div", { class: "tokens" }, lines.filter(([, values]) => values).map(([name, values]) => {
    const scale = largest(values);
    return el("div", { class: "token-line" }, el("small", {}, name), el("span", { class: "pieces" },
      tokens.text.map((text, k) => tinted(
        el("span", { class: "token", title: tokenTitle(tokens, k) }, text || "∅"), values[k], scale))));
  }));
}

function tokenTitle(tokens, k) {
  const lines = [`log-probability ${number(tokens.logprob[k], 3)}`];
  data.methods.forEach((name, m) => {
    if (tokens.credit[m]) lines.push(`${name} ${number(tokens.credit[m][k], 4)}`);
  });
  if (tokens.gap) lines.push(`teacher − student ${number(tokens.gap[k], 3)} nats`);
  return lines.join("\n");
}

function markStep(k) {
  for (const node of $("episode").querySelectorAll(".current")) node.classList.remove("current");
  for (const node of $("episode").querySelectorAll(`[data-step="${k}"]`)) node.classList.add("current");
}

function goToStep(k) {
  const card = $("episode").querySelector(`li[data-step="${k}"]`);
  if (!card) return;
  markStep(k);
  card.scrollIntoView({ block: "center" });
}

function moveStep(by) {
  if (!current) return;
  const marked = $("episode").querySelector("li.current");
  const now = marked ? Number(marked.dataset.step) : 0;
  goToStep(Math.min(current.steps.length - 1, Math.max(0, now + by)));
}
