// Untrusted text to nodes, and what changed between two texts.
//
// Everything that a model, a file, or a name says goes through `visible` or a text node: there is no
// place in this page where text becomes markup.

/** An element with attributes and children; a string is text, never markup. */
function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'on') {
      for (const [event, heard] of Object.entries(value)) element.addEventListener(event, heard);
    } else {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

// Controls but for line ends and tabs, what turns the direction of writing, and what cannot be seen.
// Joiners and variation selectors stay: scripts and emoji are written with them.
const UNSEEN = new RegExp(
  '[\\u0000-\\u0008\\u000B-\\u001F\\u007F-\\u009F\\u00AD\\u061C\\u180E\\u200B\\u200E\\u200F' +
  '\\u2028-\\u202E\\u2060-\\u206F\\uFEFF\\uFFF9-\\uFFFB\\u{E0000}-\\u{E007F}]', 'gu');

/** The name of a character that cannot be seen: U+202E. */
function codePoint(character) {
  return 'U+' + character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
}

/** A text as nodes: what steers or cannot be seen is named in a box instead of obeyed. */
function visible(text) {
  const nodes = [];
  let from = 0;
  text = text.replace(/\r\n/g, '\n');
  for (const found of text.matchAll(UNSEEN)) {
    if (found.index > from) nodes.push(text.slice(from, found.index));
    nodes.push(el('span', { class: 'unseen', title: 'a character that cannot be seen' },
      codePoint(found[0])));
    from = found.index + found[0].length;
  }
  if (from < text.length) nodes.push(text.slice(from));
  return nodes;
}

/** As `visible`, for where only a string fits. */
function plain(text) {
  return text.replace(/\s+/g, ' ').replace(UNSEEN, codePoint);
}

/** The first `most` characters, none of them cut in two. */
function first(text, most) {
  if (text.length <= most) return text;
  const high = text.charCodeAt(most - 1);
  return text.slice(0, high >= 0xD800 && high <= 0xDBFF ? most - 1 : most);
}

const ALONE = '\\p{Script=Han}|\\p{Script=Hiragana}|\\p{Script=Katakana}|\\p{Script=Thai}';
const WORDS = new RegExp(`${ALONE}|(?:(?!${ALONE})[\\p{L}\\p{M}\\p{N}_])+|\\s+|.`, 'gsu');

/** Words, blanks, and signs; a sign of a script without blanks is a word. Or single characters. */
function pieces(text, by) {
  if (by === 'words') return text.match(WORDS) || [];
  if (typeof Intl !== 'undefined' && Intl.Segmenter) {
    return Array.from(new Intl.Segmenter().segment(text), (part) => part.segment);
  }
  return Array.from(text);
}

// Beyond these the texts have too little in common for marks, and the page would stand still.
const MOST_PIECES = 40000;
const MOST_EDITS = 1000;
// Share of two texts that has to be alike, else each stands for itself.
const ALIKE = 0.4;

/**
 * What became of what: runs of `{ same }` or `{ removed, added }`; null where the texts are too
 * unlike. Myers' greedy algorithm ("An O(ND) Difference Algorithm", 1986) between what both begin
 * and end with.
 */
function difference(old, now, by) {
  if (!old.trim() || !now.trim()) return null;
  const a = pieces(old, by);
  const b = pieces(now, by);
  if (a.length + b.length > MOST_PIECES) return null;
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head &&
    a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const edits = script(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  if (!edits) return null;
  const runs = joined([
    ...(head ? [{ same: a.slice(0, head).join('') }] : []),
    ...edits,
    ...(tail ? [{ same: a.slice(a.length - tail).join('') }] : []),
  ]);
  const seen = (text) => text.replace(/\s+/g, '').length;
  let same = 0;
  let changed = 0;
  for (const run of runs) {
    if (run.same !== undefined) same += seen(run.same);
    else changed += seen(run.removed) + seen(run.added);
  }
  return 2 * same < ALIKE * (2 * same + changed) ? null : runs;
}

/** The shortest edit script, piece by piece. */
function script(a, b) {
  const most = Math.min(a.length + b.length, MOST_EDITS);
  const reach = new Int32Array(2 * most + 3);
  const middle = most + 1;
  const trace = [];
  for (let d = 0; d <= most; d += 1) {
    trace.push(reach.slice(middle - d - 1, middle + d + 2));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && reach[middle + k - 1] < reach[middle + k + 1]);
      let x = down ? reach[middle + k + 1] : reach[middle + k - 1] + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
      reach[middle + k] = x;
      if (x >= a.length && x - k >= b.length) return walked(a, b, trace);
    }
  }
  return null;
}

function walked(a, b, trace) {
  const back = [];
  let x = a.length;
  let y = b.length;
  for (let d = trace.length - 1; d >= 0; d -= 1) {
    const at = (k) => trace[d][k + d + 1];
    const k = x - y;
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1));
    const before = down ? k + 1 : k - 1;
    const fromX = d === 0 ? 0 : at(before);
    const fromY = d === 0 ? 0 : fromX - before;
    while (x > fromX && y > fromY) {
      x -= 1;
      y -= 1;
      back.push({ same: a[x] });
    }
    if (d > 0 && down) back.push({ removed: '', added: b[y -= 1] });
    else if (d > 0) back.push({ removed: a[x -= 1], added: '' });
  }
  return back.reverse();
}

/** Neighbours joined; a blank between two changes is part of them: a phrase was replaced. */
function joined(edits) {
  const runs = [];
  for (const edit of edits) {
    const last = runs[runs.length - 1];
    if (edit.same !== undefined) {
      if (last && last.same !== undefined) last.same += edit.same;
      else runs.push({ same: edit.same });
      continue;
    }
    const before = runs[runs.length - 2];
    if (last && last.same !== undefined && !last.same.trim() && before && before.same === undefined) {
      before.removed += last.same;
      before.added += last.same;
      runs.pop();
    }
    const open = runs[runs.length - 1];
    if (open && open.same === undefined) {
      open.removed += edit.removed;
      open.added += edit.added;
    } else {
      runs.push({ removed: edit.removed, added: edit.added });
    }
  }
  return runs;
}

/** Runs as nodes of one of the two texts, or of both. */
function marked(runs, side) {
  const nodes = [];
  for (const run of runs) {
    if (run.same !== undefined) {
      nodes.push(...visible(run.same));
      continue;
    }
    if (run.removed && side !== 'new') nodes.push(el('del', {}, visible(run.removed)));
    if (run.added && side !== 'old') nodes.push(el('ins', {}, visible(run.added)));
  }
  return nodes;
}
