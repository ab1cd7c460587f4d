// Views, keys, theme.

const root = document.documentElement;
const reader = byId('transcript');
let index = null;
let list = null;
let reading = null;

function theme() {
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  try { localStorage.setItem('harness-report-theme', root.dataset.theme); } catch { /* a file may have no storage */ }
}

function view() {
  const name = location.hash.startsWith('#episode') ? 'episodes' : 'overview';
  byId('overview').hidden = name !== 'overview';
  byId('episodes').hidden = name !== 'episodes';
  for (const tab of document.querySelectorAll('[data-view]')) {
    if (tab.dataset.view === name) tab.setAttribute('aria-current', 'page');
    else tab.removeAttribute('aria-current');
  }
  if (name === 'episodes' && index) {
    followLink();
    const asked = Number(location.hash.match(/^#episode=(\d+)$/)?.[1] ?? NaN);
    if (asked !== reading?.number && index.episodes[asked]) open(index.episodes[asked]);
    else list.draw();
    if (document.activeElement === document.body) list.box.focus({ preventScroll: true });
  }
}

// What a link asks for, #episodes&run=0&task=NAME&cause=KEY, in the filters.
function followLink() {
  const asked = new URLSearchParams(location.hash.match(/^#episodes&(.*)$/)?.[1] ?? '');
  if (!asked.has('cause')) return;
  byId('filters').reset();
  byId('by-run').value = index.runs[asked.get('run')]?.label ?? '';
  byId('by-task').value = asked.get('task') ?? '';
  byId('by-cause').value = asked.get('cause') === 'fine' ? 'no failure' : index.causes.find((one) => one.key === asked.get('cause'))?.label ?? '';
  filter();
  history.replaceState(null, '', '#episodes');
}

// `more`: the list has grown while it was read, and stays where it was.
function filter(more = false) {
  if (!index) return;
  const counted = index.episodes.filter((episode) => !episode.replaced);
  if (more) list.grow(filtered(counted));
  else list.show(filtered(counted));
  const [found, all] = [list.found.length, counted.length].map((n) => n.toLocaleString('en'));
  byId('count').textContent = found === all ? `${all} episodes` : `${found} of ${all} episodes`;
}

async function open(episode) {
  reading = episode;
  const place = list.found.indexOf(episode);
  if (place >= 0) list.move(place);
  const full = await readTranscript(index, episode.number);
  if (reading !== episode) return; // the reader has moved on
  const siblings = index.episodes.filter((other) => other.sample === episode.sample && other.task === episode.task);
  reader.replaceChildren(...transcript(episode, full, siblings, open));
  reader.scrollTop = 0;
  byId('episodes').classList.add('reading');
  history.replaceState(null, '', `#episode=${episode.number}`);
}

function close() {
  reading = null;
  byId('episodes').classList.remove('reading');
  history.replaceState(null, '', '#episodes');
  list.box.focus();
}

async function choose() {
  if (!list.current) return;
  await open(list.current);
  reader.focus({ preventScroll: true });
}

function step(by) {
  list.move(list.at + by);
  if (reading && list.current) open(list.current);
}

function turnStep(by) {
  const turns = [...reader.querySelectorAll('.turn')];
  const at = turns.indexOf(document.activeElement.closest('.turn'));
  const next = turns[Math.min(Math.max(at + by, 0), turns.length - 1)];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: 'start' });
}

function foldReasoning() {
  const all = [...reader.querySelectorAll('details.reasoning')];
  const unfold = all.some((details) => !details.open);
  for (const details of all) details.open = unfold;
}

const KEYS = {
  j: () => step(1), k: () => step(-1), n: () => turnStep(1), p: () => turnStep(-1), r: foldReasoning,
  '/': () => { byId('search').focus(); byId('search').select(); },
};
const IN_LIST = {
  ArrowDown: () => step(1), ArrowUp: () => step(-1), Enter: choose, Home: () => step(-Infinity), End: () => step(Infinity),
  PageDown: () => step(10), PageUp: () => step(-10),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open) return;
  const field = event.target.closest('input, select, textarea');
  const episodes = !byId('episodes').hidden;
  let act = null;
  if (event.key === 'Escape' && episodes) act = field ? () => list.box.focus() : close;
  else if (field) act = event.key === 'Enter' && field.id === 'search' ? () => list.box.focus() : null;
  else if (event.key === '?') act = () => byId('help').showModal();
  else if (event.key === 't') act = theme;
  else if (event.key === 'g') act = () => { location.hash = episodes ? '#overview' : '#episodes'; };
  else if (event.key === '/' && !episodes) act = () => { location.hash = '#episodes'; setTimeout(KEYS['/']); };
  else if (episodes) act = KEYS[event.key] ?? (event.target === list.box || event.target === document.body ? IN_LIST[event.key] : null);
  if (act && index) { event.preventDefault(); act(); }
}

function start() {
  try { root.dataset.theme = localStorage.getItem('harness-report-theme') ?? ''; } catch { /* as above */ }
  if (!['dark', 'light'].includes(root.dataset.theme)) delete root.dataset.theme;
  byId('theme').addEventListener('click', theme);
  byId('keys').addEventListener('click', () => byId('help').showModal());
  addEventListener('hashchange', view);
  addEventListener('keydown', onKey);
  byId('filters').addEventListener('input', () => filter());
  byId('filters').addEventListener('submit', (event) => event.preventDefault());
  addEventListener('beforeprint', () => { for (const d of document.querySelectorAll('details')) d.open = true; });
  view();
}

// The list of what `found` holds, and its filters.
function showIndex(found) {
  index = found;
  list = list ?? new List(choose);
  fillFilters(index);
  filter();
  view();
}
