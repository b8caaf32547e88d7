// A probe that is open: what was asked, and what the base and all candidates said, side by side.

/** Characters of an answer that are shown before somebody asks for more. */
const SHOWN = 4000;

function card(index) {
  const probe = D.probes[index];
  const name = nameOf(probe);
  const said = el('span', { role: 'status' });
  const link = el('a', { href: `#${name}`, class: 'link', on: { click: (event) => {
    event.preventDefault();
    address(name);
    copied(location.href, said);
  } } }, 'Copy link');
  const about = el('p', { class: 'about' },
    probe.tags.map((tag) => el('span', { class: 'tag' }, visible(tag))), link, said,
    !probe.noise ? null : el('span', { class: 'dim' },
      `The base differs from itself here by ${probe.noise.toFixed(2)}.`));
  const parts = [about];
  if (probe.system !== null) parts.push(turn('system', say(probe.system)));
  for (const [user, assistant] of probe.history) parts.push(turn('user', say(user)), turn('assistant', say(assistant)));
  probe.cases.forEach((wording, i) => {
    parts.push(turn(probe.cases.length > 1 ? `prompt ${i + 1} of ${probe.cases.length}` : 'prompt',
      say(wording.prompt), `${name}#${i}`));
    const [moved, still] = [[], []];
    wording.draws.forEach((draw, k) => {
      const head = wording.draws.length === 1 ? [] :
        [el('p', { class: 'draw dim' }, `draw ${k + 1} of ${wording.draws.length}`)];
      (wording.draws.length > 1 && isStill(draw) ? still : moved).push([...head, columns(draw)]);
    });
    parts.push(...moved.flat());
    if (still.length) {
      parts.push(el('details', { class: 'still', open: moved.length === 0 },
        el('summary', {}, `${plural(still.length, 'draw')} in which nothing changed`), still.flat()));
    }
    wording.drift.forEach((drift, k) => {
      if (drift && view.seen.has(k)) parts.push(drifted(drift, D.candidates[k].name));
    });
  });
  return el('div', { class: 'card' }, parts);
}

/** Whether every candidate that is shown says and scores what the base does. */
function isStill(draw) {
  return draw.answers.every((answer, i) => i === 0 || !view.seen.has(i - 1) ||
    (answer === draw.answers[0] && draw.scores[i] === draw.scores[0]));
}

function turn(who, text, id) {
  return el('div', { class: 'turn', 'data-case': id || null }, el('span', { class: 'who' }, who), told(text, null));
}

function drifted(drift, name) {
  const gap = drift.gap === null ? '' : `, a gap of ${drift.gap.toFixed(2)} nats`;
  return el('p', { class: 'drift' }, 'Not as accepted: ', visible(name), ` parts at token ${drift.token}${gap}. Accepted: `,
    el('q', {}, visible(say(drift.accepted))), ', now: ', el('q', {}, visible(say(drift.now))));
}

/** The base and every candidate that is shown, side by side. */
function columns(draw) {
  const shown = draw.answers.map((_, i) => i).filter((i) => i === 0 || view.seen.has(i - 1));
  const pair = shown.length === 2;
  const base = draw.answers[0];
  const grid = el('div', { class: 'columns', tabindex: shown.length > 3 ? '0' : null });
  grid.style.setProperty('--columns', shown.length);
  for (const i of shown) {
    const answer = draw.answers[i];
    const score = draw.scores[i];
    const less = i > 0 && score !== null && draw.scores[0] !== null ? score - draw.scores[0] : 0;
    const tone = less <= -0.05 ? 'bad' : less >= 0.05 ? 'good' : '';
    const same = i > 0 && answer !== null && answer === base;
    const other = pair ? draw.answers[shown[1 - shown.indexOf(i)]] : (i === 0 ? null : base);
    const side = pair ? (i === 0 ? 'old' : 'new') : 'both';
    const compared = other === null || other === undefined || same || answer === null ? null :
      { with: say(other), first: pair && i === 0, side };
    grid.append(el('div', { class: `column ${same ? 'same' : ''}` },
      el('p', { class: 'name' }, el('b', {}, visible(i === 0 ? D.base.name : D.candidates[i - 1].name)),
        same ? el('span', { class: 'dim' }, 'same as ', visible(D.base.name)) : null,
        el('span', { class: `score ${tone}` }, score === null ? 'unscored' : score.toFixed(2))),
      draw.thinking[i] === null || draw.thinking[i] === undefined ? null :
        el('details', { class: 'thinking' }, el('summary', {}, 'thinking'), told(say(draw.thinking[i]), null)),
      answer === null ? el('p', { class: 'dim' }, draw.answers.every((a) => a === null) ?
        'judged by likelihoods; no answer was generated' : 'not asked') : told(say(answer), compared),
      el('ul', { class: 'checks' }, draw.checks.map((check) => {
        const value = check.scores[i];
        const reason = check.reasons[i];
        if (value === undefined || reason === null) return null;
        return el('li', {}, el('span', { class: 'kind' }, visible(check.kind)),
          el('span', { class: `score ${value === null ? 'open' : value < 0.5 ? 'bad' : 'good'}` },
            value === null ? 'unscored' : value.toFixed(2)), ' ',
          el('span', { class: 'dim' }, visible(first(say(reason), 600))));
      }))));
  }
  if (draw.continued) grid.append(el('p', { class: 'dim' }, 'One of them went on beyond its max_new_tokens to be judged.'));
  return grid;
}

/** A text in full, or its beginning and a way to the rest; what changed in it is marked. */
function told(text, compared) {
  if (!text.trim()) return el('p', { class: 'silent' }, '(silent)');
  const box = el('div', { class: 'told' });
  const write = (most) => {
    const cut = first(text, most);
    let runs = null;
    if (compared && view.by !== 'off') {
      const other = first(compared.with, most);
      runs = compared.first ? difference(cut, other, view.by) : difference(other, cut, view.by);
    }
    const pre = el('pre', { dir: 'auto' }, runs ? marked(runs, compared.side) : visible(cut));
    box.replaceChildren(pre);
    if (cut.length < text.length) {
      box.append(el('button', { type: 'button', class: 'quiet', on: { click: () => write(Infinity) } },
        `Show all ${count(text.length)} characters`));
    }
  };
  write(SHOWN);
  return box;
}
