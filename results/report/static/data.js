// Packed data: base64 of gzip of JSON in script elements. A block is unpacked when one of its episodes is read.

async function unpack(id) {
  const text = atob(byId(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text());
}

async function readIndex() {
  const index = await unpack('index');
  const episodes = index.episodes.map((row, number) => {
    const [run, task, sample, cause, ...facts] = row;
    const [id, question] = index.samples[sample];
    const about = { run: index.runs[run], task: index.tasks[task], metric: index.metrics[task], sample, id, question, cause: index.causes[cause] ?? null };
    return episodeOf(number, about, facts);
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

async function startReport() {
  start();
  if (typeof DecompressionStream === 'undefined') {
    byId('count').textContent = 'This browser cannot unpack the episodes; any of 2023 or later can.';
    return;
  }
  showIndex(await readIndex());
  root.dataset.ready = 'true';
}
