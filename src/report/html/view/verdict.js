// What a reader wants to know first: verdicts with their reasons, suites, and checkpoints.

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

/** A sign beside every colour: nobody has to tell colours apart. */
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
