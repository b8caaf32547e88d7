// The page: verdicts, suites, checkpoints, and a list of probes whose rows are made as they come into
// view. What is shown is in the address, so that it can be shared.

const D = JSON.parse(document.getElementById('data').textContent);
const $ = (id) => document.getElementById(id);
const say = (index) => D.texts[index];

/** Rows that are made together. */
const CHUNK = 40;
/** Characters of an answer that are shown before somebody asks for more. */
const SHOWN = 4000;
/** Candidates whose scores a closed row has room for. */
const MOVES = 6;
/** Rows that are printed. */
const PRINTED = 200;

const SHOWS = ['all', 'changed', 'lost', 'gained', 'unscored'];
const SIGNS = { lost: '▼', gained: '▲', kept: '=', unscored: '?' };
const count = (n) => n.toLocaleString('en');
const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;

/** What is shown. */
const view = {
  show: 'all', suite: '', tag: '', check: '', find: '', sort: 'loss', by: 'words',
  seen: new Set(), open: new Set(), everything: false, current: -1, rows: [],
};

// ---- verdicts

function command(text) {
  const said = el('span', { role: 'status' });
  const copy = el('button', { type: 'button', class: 'quiet', on: { click: () => copied(text, said) } }, 'Copy');
  return el('div', { class: 'next' }, el('code', {}, visible(text)), copy, said);
}

async function copied(text, said) {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = 'copied';
  } catch {
    said.textContent = 'select it and copy';
  }
  setTimeout(() => { said.textContent = ''; }, 2000);
}

function reasons(lines) {
  const list = el('dl', { class: 'lines' });
  lines.forEach((line, i) => {
    const repeated = i > 0 && lines[i - 1].head === line.head;
    list.append(el('dt', {}, repeated ? '' : line.head), el('dd', { class: line.tone }, named(line.text)));
  });
  return list;
}

/** A sentence of the gate, with what stands between back ticks as code. */
function named(text) {
  return text.split('`').map((piece, i, all) => {
    if (i % 2 === 0) return visible(piece);
    return i === all.length - 1 ? visible('`' + piece) : [el('code', {}, visible(piece))];
  }).flat();
}

function verdict(candidate, range) {
  const pooled = candidate.pooled;
  const numbers = pooled && pooled.numbers;
  const ends = numbers && el('div', { class: 'sure' },
    bar(pooled, range),
    el('p', {}, `All keep suites: difference ${pooled.change}. Each end holds at ` +
      `${percent(numbers.confidence)} by itself, over ${plural(numbers.probes, 'probe')}` +
      (pooled.smallest === null ? '.' : `; the smallest loss that they can exclude is ${pooled.smallest.toFixed(3)}.`)),
    el('p', { class: 'key' }, el('span', { class: 'swatch zero' }), 'no difference ',
      el('span', { class: 'swatch margin' }), `margin ${signed(-pooled.margin)}`));
  return el('article', { class: `verdict ${candidate.tone}` },
    el('h1', {}, el('span', { class: 'sign', 'aria-hidden': 'true' }, SIGN[candidate.tone]), candidate.headline),
    el('p', { class: 'who' }, el('b', {}, visible(candidate.name)), ' against ', el('b', {}, visible(D.base.label)),
      candidate.label === candidate.name ? null : el('span', { class: 'dim' }, ' · ', visible(candidate.label))),
    ends, reasons(candidate.lines),
    candidate.next ? command(candidate.next) : null);
}

const SIGN = { good: '✓', bad: '✗', open: '~', plain: '', dim: '' };

function showVerdicts() {
  const place = $('verdicts');
  const featured = D.candidates.filter((c) => c.featured);
  // One range for all, so that they can be compared.
  const range = keepRange(featured.map((c) => c.pooled).filter(Boolean));
  place.append(...featured.map((c) => verdict(c, range)));
  place.classList.toggle('several', featured.length > 1);
  for (const note of D.notes) place.append(el('p', { class: 'note' }, visible(note)));
}

// ---- suites

function showSuites() {
  const featured = D.candidates.filter((c) => c.featured);
  const rows = featured.flatMap((c) => [...c.rows, ...(c.pooled ? [c.pooled] : [])]);
  if (!rows.length) return;
  $('suites').hidden = false;
  const several = featured.length > 1;
  const noisy = rows.some((row) => row.noise !== null);
  const range = keepRange(rows.filter((row) => row.goal === 'keep'));
  const heads = ['suite', ...(several ? ['candidate'] : []), 'goal', 'probes', 'base',
    several ? 'score' : 'candidate', '', 'difference', ...(noisy ? ['noise'] : []), 'verdict'];
  const numeric = new Set(['probes', 'base', 'candidate', 'score', 'noise']);
  if (several) numeric.delete('candidate');
  const body = el('tbody');
  const names = [...new Set(rows.map((row) => row.suite))];
  for (const name of names) {
    let first = true;
    for (const candidate of featured) {
      const row = [...candidate.rows, candidate.pooled].find((r) => r && r.suite === name);
      if (!row) continue;
      body.append(suiteRow(row, several ? candidate : null, noisy, range, first));
      first = false;
    }
  }
  const ticks = el('div', { class: 'key' },
    el('span', { class: 'swatch dot' }), 'difference and its ends ',
    el('span', { class: 'swatch zero' }), 'no difference ', el('span', { class: 'swatch margin' }), 'margin ',
    el('span', { class: 'swatch target' }), 'target of a learn suite, on 0 to 1',
    el('span', { class: 'dim' }, ` Bars of keep suites reach from ${signed(range.low)} to ${signed(range.high)}.`));
  $('suite-rows').append(el('table', { class: 'suites' },
    el('thead', {}, el('tr', {}, heads.map((head) => el('th',
      { scope: 'col', class: numeric.has(head) ? 'number' : null }, head)))), body), ticks);
}

function suiteRow(row, candidate, noisy, range, first) {
  const known = D.suites.findIndex((s) => s.name === row.suite);
  const about = known >= 0 ? D.suites[known].description : null;
  const name = row.pooled || known < 0 ? el('b', {}, row.pooled ? 'all keep' : visible(row.suite)) :
    el('a', { href: `#suite=${encodeURIComponent(row.suite)}`, title: about && plain(about) }, visible(row.suite));
  const why = row.reasons.length ? el('p', { class: 'dim why' }, named(row.reasons.join('; '))) : null;
  const cell = (kind, text, label) => el('td', { class: kind, 'data-label': label }, text ?? '–');
  return el('tr', { class: [row.pooled ? 'pooled' : '', first ? 'first' : 'again'].join(' ') },
    el('th', { scope: 'row', class: 'suite' }, name, candidate ? null : why),
    candidate ? el('td', { class: 'candidate' }, visible(candidate.name), why) : null,
    cell('goal', row.aim, ''), cell('number probes', row.probes, 'probes'),
    cell('number base', row.base, 'base'), cell('number score', row.candidate, 'candidate'),
    el('td', { class: 'drawn' }, bar(row, range)),
    cell('change', row.change, ''),
    noisy ? cell('number noise', row.noise, 'noise') : null,
    el('td', { class: `state ${row.tone}` },
      el('span', { 'aria-hidden': 'true' }, SIGN[row.tone] + ' '), row.state));
}

// ---- checkpoints

function showRuns() {
  const place = $('runs');
  for (const run of D.runs) {
    if (!run.checkpoints.length && !run.losses.length) continue;
    place.hidden = false;
    const drawn = el('div', { class: 'curves' });
    const drift = run.checkpoints.some((c) => c.kl_to_base !== null);
    const validated = run.checkpoints.some((c) => c.validation_loss !== null);
    const heads = ['step', 'loss', ...(validated ? ['validation'] : []), 'learned', 'kept',
      ...(drift ? ['KL to base'] : []), 'verdict'];
    const number = (value, digits) => (value === null ? '–' : digits(value));
    const small = (v) => (Math.abs(v) >= 0.1 ? v.toFixed(3) : v.toFixed(4));
    const rows = run.checkpoints.map((c) => el('tr', { class: c.best ? 'best' : null },
      el('th', { scope: 'row' }, c.place),
      el('td', { class: 'number' }, number(c.train_loss, small)),
      validated ? el('td', { class: 'number' }, number(c.validation_loss, small)) : null,
      el('td', { class: 'number' }, number(c.learn, (v) => v.toFixed(2))),
      el('td', { class: 'number' }, c.change ?? '–'),
      drift ? el('td', { class: 'number' }, number(c.kl_to_base, (v) => v.toFixed(3))) : null,
      el('td', { class: `state ${c.tone}` }, el('span', { 'aria-hidden': 'true' }, SIGN[c.tone] + ' '),
        visible(c.headline), c.best ? el('b', { class: 'badge' }, 'best') : null,
        c.candidate === null ? null :
          el('button', { type: 'button', class: 'quiet', on: { click: () => only(c.candidate) } }, 'answers'),
        c.causes.length ? el('p', { class: 'dim' }, visible(c.causes.join('; '))) : null)));
    const table = el('div', { class: 'wide' }, el('table', { class: 'checkpoints' },
      el('thead', {}, el('tr', {}, heads.map((head) => el('th', { scope: 'col',
        class: head === 'step' || head === 'verdict' ? null : 'number' }, head)))), el('tbody', {}, rows)));
    place.append(el('div', { class: 'run' },
      el('h2', {}, 'Checkpoints', run.name ? el('span', { class: 'dim' }, ' ', visible(run.name)) : null),
      drawn, curveKey(run), rows.length ? table : null,
      run.stopped ? el('p', { class: 'note' }, 'Stopped: ', named(run.stopped)) : null));
    let last = 0;
    const draw = () => {
      const width = drawn.clientWidth;
      if (!width || width === last) return;
      last = width;
      const both = width >= 860;
      const one = both ? Math.floor((width - 28) * 0.6) : width;
      const other = both ? width - 28 - one : width;
      const beside = against(run, other);
      drawn.replaceChildren(overSteps(run, beside ? one : width), ...(beside ? [beside] : []));
    };
    new ResizeObserver(draw).observe(drawn);
    addEventListener('beforeprint', draw);
  }
}

function curveKey(run) {
  const scales = [...new Set(run.checkpoints.map((c) => c.scale))].sort((a, b) => b - a);
  const item = (kind, text) => [el('span', { class: `swatch ${kind}` }), text, ' '];
  return el('p', { class: 'key' }, item('full', 'pass'), item('hollow', 'open'), item('cross', 'regression'),
    run.checkpoints.some((c) => c.best) ? item('best', 'best') : [],
    scales.length > 1 ? scales.map((s, i) => item(`scale-${Math.min(i, 3)}`, `scale ${s}`)) : [],
    run.losses.length ? item('training', run.every > 1 ? `training loss, means of ${run.every} steps` : 'training loss') : [],
    run.validation.length ? item('validating', 'validation loss') : []);
}

// ---- the list of probes

/** A candidate beside the base alone. */
function only(candidate) {
  view.seen = new Set([candidate]);
  tools();
  listed();
  $('answers').scrollIntoView();
}

const seen = (probe) => probe.of.filter((of, i) => of && view.seen.has(i));
const lowest = (probe) => Math.min(...seen(probe).map((of) => of.change ?? 0));
const isShown = {
  all: () => true,
  changed: (probe) => seen(probe).some((of) => of.changed),
  lost: (probe) => seen(probe).some((of) => of.state === 'lost'),
  gained: (probe) => seen(probe).some((of) => of.state === 'gained'),
  unscored: (probe) => seen(probe).some((of) => of.state === 'unscored'),
};

/** Kinds of checks by which a candidate that is seen scores less than the base. */
function lostBy(probe) {
  const kinds = new Set();
  for (const wording of probe.cases) {
    for (const draw of wording.draws) {
      for (const check of draw.checks) {
        const base = check.scores[0];
        const less = check.scores.some((s, i) => i > 0 && view.seen.has(i - 1) &&
          s !== null && base !== null && s < base);
        if (less) kinds.add(check.kind);
      }
    }
  }
  return kinds;
}

/** Which probes say a text, whatever its case. */
function saying(words) {
  const wanted = words.toLowerCase();
  const texts = D.texts.map((text) => text.toLowerCase().includes(wanted));
  return (probe) => probe.id.includes(wanted) || `${D.suites[probe.suite].name}::${probe.id}`.includes(wanted) ||
    probe.cases.some((wording) => texts[wording.prompt] ||
      wording.draws.some((draw) => draw.answers.some((a, i) => a !== null && texts[a] &&
        (i === 0 || view.seen.has(i - 1)))));
}

/** The probes that are asked for but for `show`, so that its counts can be told. */
function asked() {
  const found = view.find.trim() ? saying(view.find.trim()) : null;
  const all = [];
  D.probes.forEach((probe, i) => {
    if (view.suite && D.suites[probe.suite].name !== view.suite) return;
    if (view.tag && !probe.tags.includes(view.tag)) return;
    if (view.check && !lostBy(probe).has(view.check)) return;
    if (found && !found(probe)) return;
    all.push(i);
  });
  return all;
}

let nearby = null;

/** Makes the list anew, nothing of it but places for rows. */
function listed() {
  const all = asked();
  for (const show of SHOWS) {
    const n = all.filter((i) => isShown[show](D.probes[i])).length;
    const button = $(`show-${show}`);
    button.querySelector('.n').textContent = count(n);
    button.setAttribute('aria-pressed', String(view.show === show));
    button.hidden = show === 'unscored' && n === 0 && view.show !== show;
  }
  view.rows = all.filter((i) => isShown[view.show](D.probes[i]));
  if (view.sort === 'loss') {
    const by = new Map(view.rows.map((i) => [i, lowest(D.probes[i])]));
    view.rows.sort((a, b) => by.get(a) - by.get(b) || a - b);
  }
  $('count').textContent = `${plural(view.rows.length, 'probe')} of ${count(D.probes.length)}`;
  nearby?.disconnect();
  const list = $('list');
  list.replaceChildren();
  nearby = new IntersectionObserver((entries) => {
    for (const entry of entries) (entry.isIntersecting ? fill : empty)(entry.target);
  }, { rootMargin: '1200px 0px' });
  for (let from = 0; from < view.rows.length; from += CHUNK) {
    const chunk = el('div', { class: 'chunk', 'data-from': from });
    chunk.style.setProperty('--rows', Math.min(CHUNK, view.rows.length - from));
    list.append(chunk);
    nearby.observe(chunk);
  }
  if (!view.rows.length) {
    list.append(el('p', { class: 'nothing' }, 'No probe is like that. ',
      el('button', { type: 'button', class: 'quiet', on: { click: reset } }, 'Show all')));
  }
  $('unprinted').textContent = view.rows.length > PRINTED ?
    `${count(view.rows.length - PRINTED)} more probes are not printed.` : '';
}

function fill(chunk) {
  if (chunk.childElementCount) return;
  const from = Number(chunk.dataset.from);
  chunk.append(...view.rows.slice(from, from + CHUNK).map(row));
  chunk.style.height = '';
  chunk.classList.add('filled');
}

/** Far away rows go; their place stays as high as it was. */
function empty(chunk) {
  if (!chunk.childElementCount || chunk.contains(document.activeElement)) return;
  chunk.style.height = `${chunk.offsetHeight}px`;
  chunk.replaceChildren();
  chunk.classList.remove('filled');
}

const nameOf = (probe) => `${D.suites[probe.suite].name}::${probe.id}`;
const number = (value) => (value === null || value === undefined ? '–' : value.toFixed(2));

function row(index) {
  const probe = D.probes[index];
  const name = nameOf(probe);
  const ofs = probe.of.map((of, i) => ({ of, i })).filter(({ of, i }) => of && view.seen.has(i));
  // The base's score is said once; a mean over other draws than the first candidate's is in the title.
  const scores = ofs.slice(0, MOVES).map(({ of, i }) => el('span', { class: `move ${of.state}`,
    title: `${plain(D.candidates[i].name)}: ${of.state}, ${number(of.base)} to ${number(of.score)}` +
      (of.changed ? '; the text or a score changed' : '') },
  el('span', { class: 'sign', 'aria-hidden': 'true' }, SIGNS[of.state]),
  el('span', { class: 'unheard' }, of.state + ' '), el('span', { class: 'numbers' }, number(of.score))));
  const from = ofs.length ? [el('span', { class: 'from' }, number(ofs[0].of.base), el('span', { class: 'dim' }, ' →'))] : [];
  const open = view.open.has(index);
  const button = el('button', { type: 'button', class: 'row', 'aria-expanded': String(open),
    on: { click: () => toggle(index, true) } },
  el('span', { class: 'arrow', 'aria-hidden': 'true' }),
  el('span', { class: 'id' }, name, probe.critical ? el('span', { class: 'badge' }, 'critical') : null),
  el('span', { class: 'moves' }, from, scores, ofs.length > MOVES ? el('span', { class: 'dim' }, `+${ofs.length - MOVES}`) : null),
  el('span', { class: 'asked', dir: 'auto' }, plain(first(say(probe.cases[0].prompt), 240))));
  const article = el('article', { class: 'probe', 'data-probe': index, 'aria-label': name }, button);
  if (index === view.current) article.classList.add('current');
  if (open) article.append(card(index));
  return article;
}

const articleOf = (index) => document.querySelector(`article[data-probe="${index}"]`);

/** Opens or closes a probe where it stands. */
function toggle(index, tell) {
  const article = articleOf(index);
  const open = !view.open.has(index);
  if (open) view.open.add(index);
  else view.open.delete(index);
  if (article) {
    article.querySelector('.card')?.remove();
    article.querySelector('.row').setAttribute('aria-expanded', String(open));
    if (open) article.append(card(index));
  }
  current(index);
  if (tell) address(open ? nameOf(D.probes[index]) : '');
}

function current(index) {
  articleOf(view.current)?.classList.remove('current');
  view.current = index;
  articleOf(index)?.classList.add('current');
}

// ---- a probe's answers

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

// ---- tools

function choice(id, label, key, options) {
  const select = el('select', { id, on: { change: (event) => {
    view[key] = event.target.value;
    address('');
    listed();
  } } }, options.map(([value, text]) => el('option', { value, selected: view[key] === value }, text)));
  return el('label', { for: id }, el('span', {}, label), select);
}

function tools() {
  const tags = [...new Set(D.probes.flatMap((probe) => probe.tags))].sort();
  const checks = [...new Set(D.probes.flatMap((probe) => [...lostBy(probe)]))].sort();
  const any = (noun) => ['', `all ${noun}`];
  let waiting = 0;
  const find = el('input', { type: 'search', id: 'find', placeholder: 'Search (/)', 'aria-label': 'Search probes, prompts, and answers',
    autocomplete: 'off', spellcheck: 'false', on: { input: (event) => {
      view.find = event.target.value;
      clearTimeout(waiting);
      waiting = setTimeout(() => { address(''); listed(); }, 150);
    } } });
  find.value = view.find;
  const shows = el('div', { class: 'shows', role: 'group', 'aria-label': 'Which probes' }, SHOWS.map((show) =>
    el('button', { type: 'button', id: `show-${show}`, 'aria-pressed': 'false', on: { click: () => {
      view.show = show;
      address('');
      listed();
    } } }, show, ' ', el('span', { class: 'n' }))));
  const answering = D.candidates.filter((candidate) => candidate.answers);
  const whom = answering.length < 2 ? null : el('fieldset', { class: 'whom' }, el('legend', {}, 'beside the base'),
    answering.map((candidate) => {
      const i = D.candidates.indexOf(candidate);
      const box = el('input', { type: 'checkbox', on: { change: (event) => {
        if (event.target.checked) view.seen.add(i);
        else view.seen.delete(i);
        listed();
      } } });
      box.checked = view.seen.has(i);
      return el('label', {}, box, visible(candidate.name));
    }));
  $('tools').replaceChildren(find, shows, el('div', { class: 'choices' },
    D.suites.length > 1 ? choice('suite', 'suite', 'suite', [any('suites'), ...D.suites.map((s) => [s.name, s.name])]) : null,
    tags.length ? choice('tag', 'tag', 'tag', [any('tags'), ...tags.map((t) => [t, plain(t)])]) : null,
    checks.length > 1 ? choice('check', 'lost by', 'check', [any('checks'), ...checks.map((c) => [c, c])]) : null,
    choice('sort', 'order', 'sort', [['loss', 'largest loss first'], ['suite', 'as in the suites']]),
    choice('by', 'marks', 'by', [['words', 'words that changed'], ['characters', 'characters'], ['off', 'none']]),
    el('button', { type: 'button', id: 'open-all', on: { click: openAll } }, 'Open all')), ...(whom ? [whom] : []));
}

function openAll() {
  view.everything = !view.everything;
  view.open = new Set(view.everything ? view.rows : []);
  $('open-all').textContent = view.everything ? 'Close all' : 'Open all';
  listed();
}

function reset() {
  Object.assign(view, { show: 'all', suite: '', tag: '', check: '', find: '' });
  tools();
  address('');
  listed();
}

// ---- addresses

const KEYS = ['show', 'suite', 'tag', 'check', 'find', 'sort', 'by'];
const USUAL = { suite: '', tag: '', check: '', find: '', sort: 'loss', by: 'words' };
let usualShow = 'all';

/** `#code::quicksort&show=lost`: a probe, and what is shown. */
function address(probe) {
  const parts = probe ? [probe] : [];
  for (const key of KEYS) {
    const usual = key === 'show' ? usualShow : USUAL[key];
    if (view[key] !== usual) parts.push(`${key}=${encodeURIComponent(view[key])}`);
  }
  try {
    history.replaceState(null, '', parts.length ? `#${parts.join('&')}` : location.pathname + location.search);
  } catch {
    // A page inside another may not have an address of its own.
  }
}

/** Shows what the address asks for. */
function follow() {
  let hash = location.hash.slice(1);
  try {
    hash = decodeURIComponent(hash);
  } catch {
    // Not written by this page: taken as it stands.
  }
  if (!hash || hash === 'answers') return;
  let wanted = '';
  for (const piece of hash.split('&')) {
    const at = piece.indexOf('=');
    const key = at < 0 ? '' : piece.slice(0, at);
    if (KEYS.includes(key)) view[key] = piece.slice(at + 1);
    else if (piece.includes('::')) wanted = piece;
  }
  if (!SHOWS.includes(view.show)) view.show = usualShow;
  if (!['loss', 'suite'].includes(view.sort)) view.sort = USUAL.sort;
  if (!['words', 'characters', 'off'].includes(view.by)) view.by = USUAL.by;
  tools();
  listed();
  // The address then says all that is shown, what was chosen before a link was followed too.
  address(wanted && goTo(wanted) ? wanted : '');
  if (!wanted) $('answers').scrollIntoView();
}

/** Opens `suite::probe` or `suite::probe#wording`, whatever is filtered; false where there is none. */
function goTo(wanted) {
  const [name, wording] = wanted.split('#');
  const index = D.probes.findIndex((probe) => nameOf(probe) === name);
  if (index < 0) {
    $('count').textContent = `There is no probe ${plain(name)} here.`;
    return false;
  }
  if (!view.rows.includes(index)) {
    Object.assign(view, { show: 'all', suite: '', tag: '', check: '', find: '' });
    tools();
    listed();
  }
  view.open.add(index);
  shownRow(index, true);
  if (wording !== undefined) articleOf(index).querySelector(`[data-case="${CSS.escape(`${name}#${wording}`)}"]`)?.scrollIntoView();
  return true;
}

/** Brings a row into view, made where it was not. */
function shownRow(index, top) {
  measureTools();
  const at = view.rows.indexOf(index);
  const chunk = $('list').children[Math.floor(at / CHUNK)];
  fill(chunk);
  const article = articleOf(index);
  if (view.open.has(index) && !article.querySelector('.card')) toggleCard(article, index);
  current(index);
  article.scrollIntoView({ block: top ? 'start' : 'nearest' });
  article.querySelector('.row').focus({ preventScroll: true });
}

function toggleCard(article, index) {
  article.querySelector('.row').setAttribute('aria-expanded', 'true');
  article.append(card(index));
}

function step(by) {
  const at = view.rows.indexOf(view.current);
  const next = at < 0 ? 0 : Math.min(view.rows.length - 1, Math.max(0, at + by));
  if (view.rows.length) shownRow(view.rows[next], false);
}

// ---- keys, theme, print

const HELP = [['j k', 'the next probe, the one before'], ['Enter o', 'open or close it'],
  ['e', 'open or close all'], ['1 to 5', 'all, changed, lost, gained, unscored'], ['/', 'search'],
  ['d', 'marks: words, characters, none'], ['c', 'copy the link of the probe'], ['t', 'light, dark, system'],
  ['?', 'these keys']];

function keys(event) {
  const inField = event.target.closest('input, select, textarea');
  if (event.key === 'Escape' && inField) event.target.blur();
  if (inField || event.ctrlKey || event.metaKey || event.altKey || $('keys').open) return;
  const acts = {
    j: () => step(1), k: () => step(-1), o: () => view.current >= 0 && toggle(view.current, true),
    e: openAll, t: turnTheme, '?': () => $('keys').showModal(), '/': () => $('find').focus(),
    c: () => view.current >= 0 && articleOf(view.current)?.querySelector('.link')?.click(),
    d: () => {
      const ways = ['words', 'characters', 'off'];
      view.by = ways[(ways.indexOf(view.by) + 1) % ways.length];
      tools();
      listed();
    },
  };
  const show = SHOWS[Number(event.key) - 1];
  if (show && event.key >= '1') {
    acts[event.key] = () => $(`show-${show}`).click();
  }
  if (Object.hasOwn(acts, event.key)) {
    event.preventDefault();
    acts[event.key]();
  }
}

const THEMES = { '': 'System', light: 'Light', dark: 'Dark' };

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  $('theme').textContent = THEMES[name];
}

function turnTheme() {
  const names = Object.keys(THEMES);
  const now = document.documentElement.dataset.theme || '';
  const next = names[(names.indexOf(now) + 1) % names.length];
  theme(next);
  try {
    localStorage.setItem('qeval-theme', next);
  } catch {
    // A file opened in a locked-down browser keeps nothing.
  }
}

function storedTheme() {
  try {
    const name = localStorage.getItem('qeval-theme');
    return Object.hasOwn(THEMES, name) ? name : '';
  } catch {
    return '';
  }
}

/** Paper gets the first rows, made however far away they are. */
function toPaper() {
  [...$('list').children].slice(0, Math.ceil(PRINTED / CHUNK)).forEach((chunk) => {
    if (chunk.dataset.from) fill(chunk);
  });
}

function start() {
  theme(storedTheme());
  const whom = D.candidates.filter((c) => c.featured).map((c) => c.name);
  document.title = `${D.candidates.filter((c) => c.featured).map((c) => `${c.headline}: ${plain(c.name)}`).join(', ')} · qeval`;
  $('title').append(...visible(whom.length ? `${whom.join(', ')} against ${D.base.name}` : D.base.name));
  D.candidates.forEach((c, i) => { if (c.featured && c.answers) view.seen.add(i); });
  const last = D.candidates.findLastIndex((c) => c.answers);
  if (!view.seen.size && last >= 0) view.seen.add(last);
  showVerdicts();
  showSuites();
  showRuns();
  $('foot').append(`Written by qeval ${D.qeval}. Nothing in this page was fetched. `,
    plural(D.probes.length, 'probe'), ', ', plural(D.candidates.length, 'candidate'), '.');
  if (D.probes.length) {
    $('answers').hidden = false;
    usualShow = D.probes.some(isShown.changed) ? 'changed' : 'all';
    view.show = usualShow;
    tools();
    listed();
    follow();
  }
  $('keys').append(el('h2', {}, 'Keys'), el('dl', {}, HELP.map(([key, what]) =>
    [el('dt', {}, key.split(' ').map((k) => (k === 'to' ? ' to ' : el('kbd', {}, k)))), el('dd', {}, what)])),
  el('form', { method: 'dialog' }, el('button', {}, 'Close')));
  $('help').addEventListener('click', () => $('keys').showModal());
  $('theme').addEventListener('click', turnTheme);
  addEventListener('keydown', keys);
  addEventListener('hashchange', follow);
  addEventListener('beforeprint', toPaper);
  new ResizeObserver(measureTools).observe($('tools'));
}

/** What is scrolled to must not lie under the tools. */
function measureTools() {
  const sticky = getComputedStyle($('tools')).position === 'sticky';
  document.documentElement.style.setProperty('--tools', `${sticky ? $('tools').offsetHeight : 0}px`);
}

start();
