// The list of runs: a line each, whose cells change in place, so that a button keeps its focus.

const lines = new Map();

function drawRuns(told, chosen) {
  byId('told').textContent = told.folder;
  byId('none').hidden = told.runs.length > 0;
  const wanted = told.runs.map((run) => {
    if (!lines.has(run.number)) lines.set(run.number, runLine(run));
    fillLine(lines.get(run.number), run, run.number === chosen);
    return lines.get(run.number).row;
  });
  const body = byId('runs');
  if (wanted.some((row, place) => body.children[place] !== row)) body.replaceChildren(...wanted);
}

function runLine(run) {
  const name = make('button', { type: 'button' });
  name.addEventListener('click', () => { showRun(run); location.hash = '#episodes'; });
  const bar = make('progress', { 'aria-label': 'episodes done' });
  const count = make('span');
  const cells = ['path', 'tasks', 'failed', 'score', 'last'].map((key) => [key, make('td')]);
  const { path, tasks, failed, score, last } = Object.fromEntries(cells);
  const row = make('tr', {}, make('td', {}, name), path, tasks, make('td', {}, count, bar), failed, score, last);
  return { row, name, bar, count, path, tasks, failed, score, last };
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function fillLine(line, run, chosen) {
  const unread = run.model === undefined;
  put(line.name, unread ? run.name : run.model + (run.reasoning === 'default' ? '' : ` (${run.reasoning})`));
  put(line.path, run.name);
  line.name.disabled = unread;
  line.row.toggleAttribute('aria-current', chosen);
  line.score.classList.toggle('problem', Boolean(run.problem));
  line.bar.hidden = unread;
  if (unread) { put(line.score, run.problem); return; }
  put(line.tasks, run.tasks.slice(0, 6).join(', ') + (run.tasks.length > 6 ? ` and ${run.tasks.length - 6} more` : ''));
  put(line.count, `${run.done.toLocaleString('en')} of ${run.planned.toLocaleString('en')}`);
  [line.bar.max, line.bar.value] = [Math.max(run.planned, 1), run.done];
  put(line.failed, run.failed.toLocaleString('en'));
  put(line.score, run.problem || run.scores.slice(0, 6).map(scoreText).join('\n') || '–');
  put(line.last, run.finished ? 'finished' : run.idle === null ? 'none yet' : `${duration(run.idle)} ago`);
}

function scoreText([name, heading, value, ends]) {
  const between = ends ? ` [${ends.map((end) => end.toFixed(2)).join(', ')}]` : '';
  return `${name}: ${heading} ${value.toFixed(3)}${between}`;
}

function duration(seconds) {
  const [size, unit] = seconds < 120 ? [1, 's'] : seconds < 7200 ? [60, 'min'] : seconds < 172800 ? [3600, 'h'] : [86400, 'days'];
  return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
}
