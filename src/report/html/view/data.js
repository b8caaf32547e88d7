// The data of the page, and what is shown of it.

const D = JSON.parse(document.getElementById('data').textContent);
const $ = (id) => document.getElementById(id);
const say = (index) => D.texts[index];

const SHOWS = ['all', 'changed', 'lost', 'gained', 'unscored'];
const count = (n) => n.toLocaleString('en');
const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;

/** What is shown. */
const view = {
  show: 'all', suite: '', tag: '', cause: '', find: '', sort: 'loss', by: 'words',
  seen: new Set(), open: new Set(), everything: false, current: -1, rows: [],
};
