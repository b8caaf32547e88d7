// Bars and curves, drawn from numbers that the gate worked out: nothing is computed of them here but
// places on the screen.

const SVG = 'http://www.w3.org/2000/svg';

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const signed = (value) => {
  const text = Math.abs(value).toFixed(2);
  return text === '0.00' ? text : (value < 0 ? '-' : '+') + text;
};

/** Range of the intervals of `keep` rows, with zero and the margins in it. */
function keepRange(rows) {
  let low = -0.05;
  let high = 0.05;
  for (const row of rows) {
    const n = row.numbers;
    low = Math.min(low, n ? n.lower : 0, -(row.margin || 0));
    high = Math.max(high, n ? n.upper : 0);
  }
  const pad = (high - low) * 0.06;
  return { low: Math.max(-1, low - pad), high: Math.min(1, high + pad) };
}

const share = (range, value) =>
  100 * Math.min(1, Math.max(0, (value - range.low) / (range.high - range.low)));

function part(kind, from, to) {
  const element = el('span', { class: kind });
  element.style.left = `${from.toFixed(2)}%`;
  if (to !== undefined) element.style.width = `${Math.max(0, to - from).toFixed(2)}%`;
  return element;
}

/** An interval with zero and the margin, or for `learn` the way from the base to the target. */
function bar(row, range) {
  const n = row.numbers;
  if (!n) return el('span', { class: 'bar none' });
  if (row.goal === 'learn') {
    const all = { low: 0, high: 1 };
    const at = (value) => share(all, value);
    const label = `${n.candidate_mean.toFixed(2)}, the base ${n.base_mean.toFixed(2)}` +
      (row.target === null ? '' : `, the target ${row.target.toFixed(2)}`);
    return el('span', { class: `bar learn ${row.tone}`, role: 'img', 'aria-label': label, title: label },
      part('track', 0, 100),
      part('way', Math.min(at(n.base_mean), at(n.candidate_mean)),
        Math.max(at(n.base_mean), at(n.candidate_mean))),
      part('from', at(n.base_mean)),
      row.target === null ? null : part('target', at(row.target)),
      part('dot', at(n.candidate_mean)));
  }
  const at = (value) => share(range, value);
  const label = `${row.change}, each end at ${percent(n.confidence)}` +
    (row.margin === null ? '' : `, the margin ${signed(-row.margin)}`);
  return el('span', { class: `bar ${row.tone}`, role: 'img', 'aria-label': label, title: label },
    row.margin === null ? null : part('beyond', 0, at(-row.margin)),
    part('zero', at(0)),
    row.margin === null ? null : part('margin', at(-row.margin)),
    part('way', at(n.lower), at(n.upper)),
    part('dot', at(n.difference)));
}

const percent = (confidence) => `${+(100 * confidence).toFixed(1)} %`;

/** Round marks of an axis, at most `most`. */
function marks(low, high, most) {
  const raw = (high - low) / most || 1;
  const ten = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * ten).find((s) => s >= raw * (1 - 1e-9)) || raw;
  const all = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) all.push(i * step);
  const decimals = [0, 1, 2, 3, 4].find((n) => Math.abs(step - Number(step.toFixed(n))) < step * 1e-6) ?? 4;
  return { all, decimals };
}

const LEFT = 46;
const RIGHT = 14;

/** One panel of a chart: a frame with marks, and where values stand in it. */
function panel(width, top, height, x, y, title) {
  const px = (value) => LEFT + (width - LEFT - RIGHT) * (value - x.low) / ((x.high - x.low) || 1);
  const py = (value) => top + height - height * (value - y.low) / ((y.high - y.low) || 1);
  const rows = marks(y.low, y.high, Math.max(2, Math.round(height / 36)));
  const group = svg('g', {});
  for (const value of rows.all) {
    group.append(
      svg('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: py(value), y2: py(value) }),
      svg('text', { class: 'tick', x: LEFT - 7, y: py(value) + 4, 'text-anchor': 'end' },
        value.toFixed(rows.decimals)));
  }
  group.append(svg('text', { class: 'name', x: LEFT, y: top - 8 }, title));
  return { group, px, py, y };
}

function path(points, kind) {
  const d = points.map(([x, y], i) => `${i ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
  return svg('path', { class: kind, d });
}

/** A mark whose form says what its colour says: dot, ring, or cross. */
function mark(x, y, tone, best, title) {
  const group = svg('g', { class: `point ${tone}` }, svg('title', {}, title));
  if (best) group.append(svg('circle', { class: 'best', cx: x, cy: y, r: 8.5 }));
  if (tone === 'bad') {
    group.append(svg('path', { class: 'cross', d: `M${x - 4} ${y - 4}l8 8m0-8l-8 8` }));
  } else {
    group.append(svg('circle', { class: tone === 'good' ? 'full' : 'hollow', cx: x, cy: y, r: 4 }));
  }
  return group;
}

const about = (c) => `step ${c.place}: ${c.headline}` +
  (c.learn === null ? '' : `, learned ${c.learn.toFixed(2)}`) +
  (c.change === null ? '' : `, kept ${c.change}`);

function span(values, least) {
  const known = values.filter((v) => v !== null && v !== undefined);
  let low = Math.min(...known);
  let high = Math.max(...known);
  if (high - low < least) {
    const middle = (low + high) / 2;
    [low, high] = [middle - least / 2, middle + least / 2];
  }
  const pad = (high - low) * 0.08;
  return { low: low - pad, high: high + pad };
}

/** Learning, keeping, and losses over the steps, one above the other. */
function overSteps(run, width) {
  const points = run.checkpoints;
  const scales = [...new Set(points.map((c) => c.scale))].sort((a, b) => b - a);
  const lastStep = Math.max(...points.map((c) => c.step), ...run.losses.map((l) => l[0]), 1);
  const x = { low: 0, high: lastStep * 1.02 };
  const root = svg('svg', { class: 'chart', role: 'img', width,
    'aria-label': 'Learned, kept, and losses by step; the table below has the numbers' });
  let top = 26;
  const dodge = (c) => (scales.indexOf(c.scale) - (scales.length - 1) / 2) * 7;
  const series = (frame, value, ends) => {
    scales.forEach((scale, i) => {
      const own = points.filter((c) => c.scale === scale && value(c) !== null);
      frame.group.append(path(own.map((c) => [frame.px(c.step) + dodge(c), frame.py(value(c))]),
        `line scale-${Math.min(i, 3)}`));
    });
    for (const c of points) {
      if (value(c) === null) continue;
      const at = frame.px(c.step) + dodge(c);
      if (ends && c.lower !== null) {
        frame.group.append(svg('line', { class: `ends ${c.tone}`, x1: at, x2: at,
          y1: frame.py(c.lower), y2: frame.py(c.upper) }));
      }
      frame.group.append(mark(at, frame.py(value(c)), c.tone, c.best, about(c)));
    }
    root.append(frame.group);
  };
  if (points.some((c) => c.learn !== null)) {
    const frame = panel(width, top, 130, x, { low: 0, high: 1 }, 'learned: mean score');
    if (run.target !== null) {
      frame.group.append(svg('line', { class: 'aim', x1: LEFT, x2: width - RIGHT,
        y1: frame.py(run.target), y2: frame.py(run.target) }),
      svg('text', { class: 'small', x: LEFT + 4, y: frame.py(run.target) - 6 }, `target ${run.target.toFixed(2)}`));
    }
    series(frame, (c) => c.learn, false);
    top += 130 + 44;
  }
  if (points.some((c) => c.difference !== null)) {
    const y = span([0, ...points.flatMap((c) => [c.lower, c.upper]),
      run.margin === null ? null : -run.margin], 0.04);
    const frame = panel(width, top, 150, x, y, 'kept: difference to the base');
    if (run.margin !== null) {
      const edge = frame.py(-run.margin);
      frame.group.append(
        svg('rect', { class: 'lost', x: LEFT, width: width - LEFT - RIGHT, y: edge,
          height: Math.max(0, top + 150 - edge) }),
        svg('line', { class: 'edge', x1: LEFT, x2: width - RIGHT, y1: edge, y2: edge }),
        svg('text', { class: 'small', x: LEFT + 4, y: top + 150 - edge < 20 ? edge - 6 : edge + 15 },
          `margin ${signed(-run.margin)}`));
    }
    frame.group.append(svg('line', { class: 'null', x1: LEFT, x2: width - RIGHT, y1: frame.py(0),
      y2: frame.py(0) }));
    series(frame, (c) => c.difference, true);
    top += 150 + 44;
  }
  const trained = run.losses.map((l) => l[1]);
  const validated = run.validation.map((l) => l[1]);
  if (trained.length + validated.length > 0) {
    const y = span([0, ...trained, ...validated], 0.02);
    y.low = 0;
    const frame = panel(width, top, 110, x, y, 'loss, nats per token');
    frame.group.append(
      path(run.losses.map(([s, l]) => [frame.px(s), frame.py(l)]), 'line training'),
      path(run.validation.map(([s, l]) => [frame.px(s), frame.py(l)]), 'line validating'));
    for (const [s, l] of run.validation) {
      frame.group.append(svg('circle', { class: 'validated', cx: frame.px(s), cy: frame.py(l), r: 3.2 },
        svg('title', {}, `step ${s}: validation ${l.toPrecision(4)}`)));
    }
    root.append(frame.group);
    top += 110 + 44;
  }
  const steps = marks(0, lastStep, Math.max(3, Math.round(width / 90)));
  const px = (value) => LEFT + (width - LEFT - RIGHT) * value / x.high;
  for (const step of steps.all) {
    root.append(svg('text', { class: 'tick', x: px(step), y: top - 26, 'text-anchor': 'middle' },
      String(+step.toFixed(2))));
  }
  root.append(svg('text', { class: 'small', x: width - RIGHT, y: top - 8, 'text-anchor': 'end' }, 'step'));
  root.setAttribute('height', top);
  return root;
}

/** Learning against keeping: up is more learned, right is more kept. */
function against(run, width) {
  const points = run.checkpoints.filter((c) => c.learn !== null && c.difference !== null);
  if (points.length < 2) return null;
  const height = 324;
  const x = span([0, ...points.map((c) => c.difference), run.margin === null ? null : -run.margin], 0.04);
  const frame = panel(width, 26, height, x, { low: 0, high: 1.04 }, 'learned, against what was kept');
  const root = svg('svg', { class: 'chart', role: 'img', width, height: height + 70,
    'aria-label': 'Learned against kept; the table below has the numbers' });
  if (run.margin !== null) {
    const edge = frame.px(-run.margin);
    frame.group.append(
      svg('rect', { class: 'lost', x: LEFT, width: Math.max(0, edge - LEFT), y: 26, height }),
      svg('line', { class: 'edge', x1: edge, x2: edge, y1: 26, y2: 26 + height }));
  }
  if (run.target !== null) {
    frame.group.append(svg('line', { class: 'aim', x1: LEFT, x2: width - RIGHT,
      y1: frame.py(run.target), y2: frame.py(run.target) }));
  }
  frame.group.append(svg('line', { class: 'null', x1: frame.px(0), x2: frame.px(0), y1: 26, y2: 26 + height }));
  const scales = [...new Set(points.map((c) => c.scale))].sort((a, b) => b - a);
  scales.forEach((scale, i) => frame.group.append(path(
    points.filter((c) => c.scale === scale).map((c) => [frame.px(c.difference), frame.py(c.learn)]),
    `line scale-${Math.min(i, 3)}`)));
  for (const c of points) frame.group.append(mark(frame.px(c.difference), frame.py(c.learn), c.tone, c.best, about(c)));
  // The first and last of each scale and the best are named, where no name lies on another; the
  // titles of the marks name all.
  const ends = scales.flatMap((scale) => {
    const own = points.filter((c) => c.scale === scale);
    return [own[own.length - 1], own[0]];
  });
  const taken = [];
  for (const c of new Set([...points.filter((p) => p.best), ...ends])) {
    const [px, py] = [frame.px(c.difference), frame.py(c.learn)];
    if (taken.some(([tx, ty]) => Math.abs(tx - px) < 70 && Math.abs(ty - py) < 14)) continue;
    taken.push([px, py]);
    const end = px > width - 80;
    frame.group.append(svg('text', { class: 'small', x: px + (end ? -12 : 12), y: py > 26 + height - 18 ? py - 8 : py + 15,
      'text-anchor': end ? 'end' : 'start' }, c.place));
  }
  const columns = marks(x.low, x.high, Math.max(3, Math.round(width / 110)));
  for (const value of columns.all) {
    frame.group.append(svg('text', { class: 'tick', x: frame.px(value), y: 26 + height + 18,
      'text-anchor': 'middle' }, Math.abs(value) < 1e-9 ? '0' : value.toFixed(columns.decimals)));
  }
  frame.group.append(svg('text', { class: 'small', x: width - RIGHT, y: 26 + height + 36,
    'text-anchor': 'end' }, 'kept: difference to the base'));
  root.append(frame.group);
  return root;
}
