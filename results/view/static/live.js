// What the server says: asked every second, and at once where there is more. Nothing that was told is asked for again.

const EVERY = 1000; // milliseconds
let followed = null; // the number of the run that is shown
let more = false;

async function ask(what) {
  const answer = await fetch(what, { cache: 'no-store' });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// Shows a run from its first episode on; what was shown of another one is forgotten.
function showRun(run) {
  if (followed === run.number) return;
  followed = run.number;
  try { sessionStorage.setItem('harness-view-run', run.name); } catch { /* a browser may have no storage */ }
  startOver(run);
}

function startOver(run) {
  closeReader();
  showIndex(emptyIndex(run));
}

function closeReader() {
  reading = null;
  byId('episodes').classList.remove('reading');
  reader.replaceChildren(make('p', { class: 'empty', text: 'Choose an episode to read.' }));
}

function emptyIndex(run) {
  for (const id of Object.keys(FIELDS)) byId(id).replaceChildren(byId(id).options[0]);
  byId('search').value = byId('low').value = byId('high').value = '';
  const label = run.model + (run.reasoning === 'default' ? '' : ` (${run.reasoning})`);
  return { generation: null, runs: [{ label, colour: 'c0' }], metrics: run.metrics, tasks: [], causes: [], episodes: [], last: new Map() };
}

async function readEpisodes(runs) {
  const run = runs.find((one) => one.number === followed);
  if (run?.model === undefined) return;
  const known = index;
  const told = await ask(`episodes?run=${followed}&from=${known.episodes.length}`);
  if (known !== index) return; // another was chosen meanwhile
  if (known.generation !== null && told.generation !== known.generation) {
    startOver(run); // its file was replaced
    more = true;
    return;
  }
  known.generation = told.generation;
  for (const row of told.rows) addEpisode(known, row);
  more = known.episodes.length < told.read;
  if (told.rows.length) { fillFilters(index); filter(true); view(); }
}

// An episode that was played again replaces what it was before.
function addEpisode(known, [task, id, question, verdict, ...facts]) {
  let cause = null;
  if (verdict) {
    cause = known.causes.find((one) => one.label === verdict[1]) ?? { key: verdict[0], label: verdict[1] };
    if (!known.causes.includes(cause)) known.causes.push(cause);
  }
  if (!known.tasks.includes(task)) known.tasks.push(task);
  const about = { run: known.runs[0], task, metric: known.metrics[task], sample: id, id, question, cause };
  const episode = episodeOf(known.episodes.length, about, facts);
  const which = JSON.stringify([task, id, episode.epoch]);
  const before = known.last.get(which);
  if (before) before.replaced = true;
  known.last.set(which, episode);
  known.episodes.push(episode);
}

// Gold is found while the page is read: until then a transcript is without it, and `waits`.
let waits = null;

async function readTranscript(known, number) {
  try {
    const full = await ask(`transcript?run=${followed}&episode=${number}`);
    waits = full.waits ? known.episodes[number] : null;
    return full;
  } catch (error) {
    return { messages: [], scores: {}, usage: {}, marks: [], notes: [], stop: 'unread', ended: 'not read', error: error.message };
  }
}

async function lookAgain() {
  const episode = waits;
  if (!episode || reading !== episode) return;
  const full = await readTranscript(index, episode.number);
  if (full.waits || reading !== episode) return;
  const top = reader.scrollTop;
  const siblings = index.episodes.filter((other) => other.sample === episode.sample && other.task === episode.task);
  reader.replaceChildren(...transcript(episode, full, siblings, open));
  reader.scrollTop = top;
}

// The one that was shown before the page was loaded again, or the newest.
function chooseRun(runs) {
  let before = null;
  try { before = sessionStorage.getItem('harness-view-run'); } catch { /* as above */ }
  const run = runs.find((one) => one.name === before) ?? runs[0];
  if (run) showRun(run);
}

async function follow() {
  try {
    const told = await ask('runs');
    if (followed === null) chooseRun(told.runs.filter((run) => run.model !== undefined));
    drawRuns(told, followed);
    await readEpisodes(told.runs);
    await lookAgain();
    byId('lost').hidden = true;
  } catch {
    byId('lost').hidden = false;
  }
  root.dataset.ready = 'true';
  setTimeout(follow, more ? 0 : EVERY);
}

function startView() {
  byId('by-run').hidden = true;
  byId('order').querySelector('[value=task]').textContent = 'oldest first';
  byId('order').prepend(make('option', { value: 'newest', text: 'newest first' }));
  byId('order').value = 'newest';
  start();
  follow();
}
