// The whole: keys, light and dark, paper, and the start.

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
  usualSeen = ticked();
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
