// The list of episodes: filtered, sorted, and only as many rows in the page as can be seen.

const ROW = 62; // pixels, as in report.css
const SPARE = 6;

class List {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.found = [];
    this.at = 0;
    this.rows = new Map();
    this.box = byId('list');
    this.tall = byId('tall');
    this.box.addEventListener('scroll', () => this.soon(), { passive: true });
    new ResizeObserver(() => this.soon()).observe(this.box);
  }

  get current() { return this.found[this.at]; }

  show(found) {
    this.replace(found);
    this.box.scrollTop = Math.max(0, this.at * ROW - this.box.clientHeight / 2);
    this.draw();
  }

  // The same list with what has come since: at its top the newest are seen, elsewhere nothing moves.
  grow(found) {
    const { scrollTop } = this.box;
    const top = this.found[Math.floor(scrollTop / ROW)];
    this.replace(found);
    const place = found.indexOf(top);
    if (scrollTop > 0 && place >= 0) this.box.scrollTop = place * ROW + (scrollTop % ROW);
    this.draw();
  }

  replace(found) {
    const before = this.current?.number;
    this.found = found;
    this.at = Math.max(0, found.findIndex((episode) => episode.number === before));
    this.tall.style.height = `${found.length * ROW}px`;
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
  }

  soon() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.draw(); });
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - SPARE);
    const last = Math.min(this.found.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + SPARE);
    for (const [place, row] of this.rows) {
      if (place < first || place >= last) { row.remove(); this.rows.delete(place); }
    }
    for (let place = first; place < last; place++) {
      if (!this.rows.has(place)) {
        const row = this.row(place);
        this.rows.set(place, row);
        this.tall.append(row);
      }
      this.rows.get(place).setAttribute('aria-selected', String(place === this.at));
    }
    const active = this.rows.get(this.at);
    if (active) this.box.setAttribute('aria-activedescendant', active.id);
    else this.box.removeAttribute('aria-activedescendant');
  }

  move(to) {
    if (!this.found.length) return;
    this.at = Math.min(Math.max(to, 0), this.found.length - 1);
    const top = this.at * ROW;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight;
    this.draw();
  }

  row(place) {
    const episode = this.found[place];
    const row = make('div', {
      class: 'row', role: 'option', id: `episode-${episode.number}`,
      'aria-posinset': place + 1, 'aria-setsize': this.found.length,
    },
    make('div', { class: 'first' },
      make('span', { class: 'question', text: episode.question || episode.id }),
      make('span', { class: 'metric', text: episode.metric }), make('span', { class: 'score', text: shown(episode.score) })),
    make('div', { class: 'second' },
      make('span', { class: 'run' }, make('i', { class: episode.run.colour }), episode.run.label),
      make('span', { class: 'where', text: episode.task + (episode.epoch ? `, epoch ${episode.epoch}` : '') }),
      verdictOf(episode)),
    meter(episode.score));
    row.style.top = `${place * ROW}px`;
    row.addEventListener('click', () => { this.move(place); this.onChoose(); });
    return row;
  }
}

function verdictOf(episode) {
  return episode.cause
    ? make('span', { class: `chip k-${episode.cause.key}`, text: episode.cause.label })
    : make('span', { class: 'chip k-fine', text: 'no failure' });
}

function meter(score) {
  const bar = make('b');
  bar.style.width = `${(score ?? 0) * 100}%`;
  return make('div', { class: 'meter', 'aria-hidden': 'true' }, bar);
}

const FIELDS = { 'by-run': (e) => e.run.label, 'by-task': (e) => e.task, 'by-outcome': (e) => e.outcome,
  'by-cause': (e) => e.cause?.label ?? 'no failure' };
const missing = (value, other) => (value === null ? other : value);
const ORDERS = {
  newest: (a, b) => b.number - a.number,
  low: (a, b) => missing(a.score, 2) - missing(b.score, 2),
  high: (a, b) => missing(b.score, -1) - missing(a.score, -1),
  calls: (a, b) => b.calls - a.calls,
  gap: (a, b) => (b.paper ?? 0) - (b.score ?? 0) - (a.paper ?? 0) + (a.score ?? 0),
};

// What the filters ask for, in the order that is asked for.
function filtered(episodes) {
  const words = byId('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = Object.entries(FIELDS).map(([id, field]) => [byId(id).value, field]).filter(([value]) => value);
  const [low, high] = [byId('low').value, byId('high').value];
  const found = episodes.filter((episode) =>
    chosen.every(([value, field]) => field(episode) === value)
    && (low === '' || (episode.score !== null && episode.score >= Number(low)))
    && (high === '' || (episode.score !== null && episode.score <= Number(high)))
    && words.every((word) => episode.text.includes(word)));
  const order = ORDERS[byId('order').value];
  return order ? found.sort((a, b) => order(a, b) || a.number - b.number) : found;
}

// Adds what the selects do not offer yet.
function fillFilters(index) {
  const values = {
    'by-run': index.runs.map((run) => run.label),
    'by-task': index.tasks,
    'by-outcome': [...new Set(index.episodes.map((episode) => episode.outcome))].sort(),
    'by-cause': ['no failure', ...index.causes.map((cause) => cause.label)],
  };
  const present = new Set(index.episodes.map(FIELDS['by-cause']));
  for (const [id, options] of Object.entries(values)) {
    const offered = new Set([...byId(id).options].map((option) => option.value));
    for (const value of options) {
      if (!offered.has(value) && (id !== 'by-cause' || present.has(value))) byId(id).append(make('option', { value, text: value }));
    }
  }
}
