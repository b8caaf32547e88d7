// What is chosen: filters, the search, and the address that tells of them and can be shared.

function choice(id, label, key, known) {
  // What an address asks for is shown as chosen, be there such a probe or not.
  const isKnown = !view[key] || known.some(([value]) => value === view[key]);
  const options = isKnown ? known : [...known, [view[key], SIGNS_OF_LOSS[view[key]] ?? plain(view[key])]];
  const select = el('select', { id, on: { change: (event) => {
    view[key] = event.target.value;
    address('');
    listed();
  } } }, options.map(([value, text]) => el('option', { value, selected: view[key] === value }, text)));
  return el('label', { for: id }, el('span', {}, label), select);
}

function tools() {
  const tags = [...new Set(D.probes.flatMap((probe) => probe.tags))].sort();
  const why = [...new Set(D.probes.flatMap((probe) => [...causes(probe)]))].sort();
  const signs = why.filter((w) => Object.hasOwn(SIGNS_OF_LOSS, w)).map((w) => [w, SIGNS_OF_LOSS[w]]);
  const checks = why.filter((w) => !Object.hasOwn(SIGNS_OF_LOSS, w)).map((w) => [w, w]);
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
        address('');
        listed();
      } } });
      box.checked = view.seen.has(i);
      return el('label', {}, box, visible(candidate.name));
    }));
  $('tools').replaceChildren(find, shows, el('div', { class: 'choices' },
    D.suites.length > 1 ? choice('suite', 'suite', 'suite', [any('suites'), ...D.suites.map((s) => [s.name, s.name])]) : null,
    tags.length ? choice('tag', 'tag', 'tag', [any('tags'), ...tags.map((t) => [t, plain(t)])]) : null,
    why.length > 1 || view.cause ? choice('cause', 'lost by', 'cause', [any('causes'), ...signs, ...checks]) : null,
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
  Object.assign(view, { show: 'all', suite: '', tag: '', cause: '', find: '' });
  tools();
  address('');
  listed();
}

const KEYS = ['show', 'suite', 'tag', 'cause', 'find', 'sort', 'by'];
const USUAL = { suite: '', tag: '', cause: '', find: '', sort: 'loss', by: 'words' };
let usualShow = 'all';
let usualSeen = '';
const ticked = () => [...view.seen].sort((a, b) => a - b).join(',');

/** `#code::quicksort&show=lost&beside=0,2`: a probe, what is shown, and which candidates by their places. */
function address(probe) {
  const parts = probe ? [probe] : [];
  for (const key of KEYS) {
    const usual = key === 'show' ? usualShow : USUAL[key];
    if (view[key] !== usual) parts.push(`${key}=${encodeURIComponent(view[key])}`);
  }
  if (ticked() !== usualSeen) parts.push(`beside=${ticked()}`);
  try {
    history.replaceState(null, '', parts.length ? `#${parts.join('&')}` : location.pathname + location.search);
  } catch {
    // A page inside another may not have an address of its own.
  }
}

/** A piece of an address as it was before it was written into one. */
function decoded(piece) {
  try {
    return decodeURIComponent(piece);
  } catch {
    // Not written by this page: taken as it stands.
    return piece;
  }
}

/** The candidates at some places, those without answers left out; as before where none of them is there. */
function beside(places) {
  const all = places.split(',').filter((place) => /^\d+$/.test(place)).map(Number);
  const there = new Set(all.filter((i) => D.candidates[i]?.answers));
  return there.size || !places ? there : view.seen;
}

/** Shows what the address asks for. */
function follow() {
  const hash = location.hash.slice(1);
  if (!hash || hash === 'answers') return;
  let wanted = '';
  for (const piece of hash.split('&').map(decoded)) {
    const at = piece.indexOf('=');
    // Links of earlier versions name the check.
    const key = at < 0 ? '' : piece.slice(0, at).replace(/^check$/, 'cause');
    if (key === 'beside') view.seen = beside(piece.slice(at + 1));
    else if (KEYS.includes(key)) view[key] = piece.slice(at + 1);
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
    Object.assign(view, { show: 'all', suite: '', tag: '', cause: '', find: '' });
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
