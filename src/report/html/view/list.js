// The list of probes: which are shown, and rows that are made as they come into view.

/** Rows that are made together. */
const CHUNK = 40;
/** Candidates whose scores a closed row has room for. */
const MOVES = 6;
/** Rows that are printed. */
const PRINTED = 200;
const SIGNS = { lost: '▼', gained: '▲', kept: '=', unscored: '?' };

/** A candidate beside the base alone. */
function only(candidate) {
  view.seen = new Set([candidate]);
  tools();
  address('');
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

/** What most of a candidate's answers are, where more than half of them are equal, else null. */
function monotone(candidate) {
  const times = new Map();
  let most = null;
  let all = 0;
  for (const probe of D.probes) {
    for (const wording of probe.cases) {
      const text = wording.draws[0]?.answers[candidate] ?? null;
      if (text === null) continue;
      all += 1;
      times.set(text, (times.get(text) || 0) + 1);
      if (most === null || times.get(text) > times.get(most)) most = text;
    }
  }
  return most !== null && all > 2 && 2 * times.get(most) > all ? most : null;
}

const SIGNS_OF_LOSS = { __proto__: null, silent: 'an empty answer', same: 'the same answer as to most' };
// Of the base and each candidate, once.
const MOSTLY = [null, ...D.candidates].map((_, i) => monotone(i));

/** Why a candidate that is seen scores less than the base: kinds of checks, and signs in its answers. */
function causes(probe) {
  const kinds = new Set();
  for (const wording of probe.cases) {
    for (const draw of wording.draws) {
      draw.scores.forEach((score, i) => {
        const [base, text] = [draw.scores[0], draw.answers[i] ?? null];
        const lost = i > 0 && view.seen.has(i - 1) && score !== null && base !== null && score < base;
        if (!lost || text === null) return;
        if (!say(text).trim() && draw.answers[0] !== text) kinds.add('silent');
        else if (text === MOSTLY[i] && MOSTLY[0] === null) kinds.add('same');
      });
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
    if (view.cause && !causes(probe).has(view.cause)) return;
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
