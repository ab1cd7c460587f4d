// Packed data: base64 of gzip of JSON in script elements. A block is unpacked when one of its episodes is read.

const byId = (id) => document.getElementById(id);

async function unpack(id) {
  const text = atob(byId(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text());
}

const COLUMNS = ['run', 'task', 'sample', 'epoch', 'outcome', 'cause', 'score', 'paper', 'answer', 'calls', 'said'];

async function readIndex() {
  const index = await unpack('index');
  const episodes = index.episodes.map((row, number) => {
    const episode = { number };
    COLUMNS.forEach((name, column) => { episode[name] = row[column]; });
    const [id, question] = index.samples[episode.sample];
    const cause = episode.cause < 0 ? null : index.causes[episode.cause];
    Object.assign(episode, { id, question, cause, run: index.runs[episode.run], task: index.tasks[episode.task] });
    episode.text = [id, question, episode.said, episode.task, episode.run.label, cause?.label ?? '', episode.outcome]
      .join('\n').toLowerCase();
    return episode;
  });
  return { ...index, episodes };
}

const KEPT = 6;
const unpacked = new Map();

// The transcript of an episode. The last few blocks stay unpacked, because neighbours are read one after the other.
async function readTranscript(index, number) {
  let block = index.starts.length - 1;
  while (index.starts[block] > number) block--;
  if (!unpacked.has(block)) {
    unpacked.set(block, unpack(`block-${block}`));
    if (unpacked.size > KEPT) unpacked.delete(unpacked.keys().next().value);
  }
  return (await unpacked.get(block))[number - index.starts[block]];
}

// Elements. Text only ever becomes text: nothing here or elsewhere sets markup.
function make(tag, options = {}, ...children) {
  const { text, ...attributes } = options;
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  if (text !== undefined) element.textContent = text;
  element.append(...children.filter(Boolean));
  return element;
}

const shown = (value, digits = 2) => (value === null || value === undefined ? '–' : value.toFixed(digits));
