// One episode in full: verdicts side by side, what depended on what, and every turn with its calls.

const LONG = 1600; // characters that are shown before "show all"

function transcript(episode, full, siblings, onSibling) {
  const solved = { strict: new Map(), paper: new Map() };
  const numbered = { calls: 0, turns: 0 };
  full.messages.flatMap((message) => message.calls).forEach((call, number) => {
    for (const rule of ['strict', 'paper']) {
      if (call[rule] !== null && !solved[rule].has(call[rule])) solved[rule].set(call[rule], number);
    }
  });
  const turns = full.messages.map((message) => turn(message, full, numbered));
  return [
    heading(episode, full),
    siblings.length > 1 && others(episode, siblings, onSibling),
    verdicts(episode, full),
    full.wanted?.length ? wantedPart(full.wanted, solved) : null,
    make('section', { class: 'turns', 'aria-label': 'Conversation' }, ...turns),
    facts(full),
  ].filter(Boolean);
}

function heading(episode, full) {
  const failed = episode.outcome === 'ok' ? '' : ` · ${episode.outcome.replaceAll('_', ' ')} (${full.stop})`;
  return make('header', {},
    make('p', { class: 'path', text: `${episode.task} · ${episode.id} · epoch ${episode.epoch}${failed}` }),
    make('h2', { text: episode.question || episode.id }),
    make('p', { class: 'by' }, make('i', { class: episode.run.colour }), episode.run.label, ' ', verdictOf(full.cause === undefined ? episode : full),
      ...full.marks.map((mark) => make('span', { class: 'chip mark', text: `also: ${mark}` }))),
    full.error && make('p', { class: 'error', text: full.error }),
    ...full.notes.map((note) => make('p', { class: 'error', text: note })));
}

function others(episode, siblings, onSibling) {
  const links = siblings.map((other) => {
    const here = other.number === episode.number;
    const name = other.run.label + (siblings.some((s) => s.epoch) ? `, epoch ${other.epoch}` : '');
    const button = make('button', { type: 'button', 'aria-current': here ? 'true' : null },
      make('i', { class: other.run.colour }), `${name}, ${other.metric} `, make('b', { text: shown(other.score) }));
    button.addEventListener('click', () => onSibling(other));
    return button;
  });
  return make('nav', { class: 'others', 'aria-label': 'The same question in other runs' }, ...links);
}

function verdicts(episode, full) {
  const { scores } = full;
  const line = (name, prefix) => make('tr', {}, make('th', { scope: 'row', text: name }),
    ...['solve_f1', 'solve_precision', 'solve_rate'].map((metric) => make('td', { text: shown(scores[prefix + metric], 3) })));
  const heads = ['', 'F1', 'precision', 'recall'].map((text) => make('th', { scope: 'col', text }));
  const table = make('table', {}, make('thead', {}, make('tr', {}, ...heads)),
    make('tbody', {}, line('strict', ''), line('paper', 'paper_')));
  const right = episode.answer === null ? 'not asked' : episode.answer === 1 ? 'right' : 'wrong';
  const answer = make('dl', {},
    make('dt', { text: 'final answer' }), make('dd', { class: `answer ${right}`, text: right }),
    make('dt', { text: 'said' }), make('dd', { text: episode.said || '–' }),
    make('dt', { text: 'gold' }), make('dd', { text: full.gold ?? 'not at hand' }));
  return make('div', { class: 'verdicts' }, table, answer);
}

function wantedPart(wanted, solved) {
  const go = (number) => {
    const call = byId(`call-${number}`);
    call.scrollIntoView({ block: 'center' });
    call.focus();
  };
  return make('section', { class: 'wanted', 'aria-label': 'Sub-answers' },
    make('h3', { text: 'What it had to find' }), graph(wanted, solved, go));
}

function turn(message, full, numbered) {
  const speaks = message.role === 'assistant';
  const name = speaks ? `turn ${++numbered.turns}` : message.role;
  return make('section', { class: `turn ${message.role}`, tabindex: '-1', 'aria-label': name },
    make('h4', { text: name }),
    make('div', { class: 'body' },
      message.reasoning ? reasoning(message.reasoning) : null,
      message.content ? long(message.content, 'said') : null,
      ...message.calls.map((call) => callCard(call, full, numbered.calls++))));
}

function reasoning(text) {
  const words = text.split(/\s+/).filter(Boolean).length;
  return make('details', { class: 'reasoning' },
    make('summary', { text: `reasoning, ${words.toLocaleString('en')} words` }), make('p', { class: 'said', text }));
}

function callCard(call, full, number) {
  const differs = (call.strict === null) !== (call.paper === null) || call.strict !== call.paper;
  const state = call.strict !== null ? 'solved' : call.status === 'ok' ? 'idle' : 'failed';
  return make('div', { class: `call ${state}`, id: `call-${number}`, tabindex: '-1' },
    make('div', { class: 'made' }, make('code', { class: 'name', text: call.name }),
      make('span', { class: `status ${call.status === 'ok' ? '' : 'bad'}`, text: call.status.replace('_', ' ') })),
    long(call.arguments, 'arguments'),
    long(call.output, 'output'),
    make('p', { class: `ruling${differs ? ' differs' : ''}` },
      rule('strict', call.strict, call, full, call.because), rule('paper', call.paper, call, full, null)));
}

function rule(name, solves, call, full, because) {
  const sub = full.wanted && solves !== null ? full.wanted[solves] : null;
  const what = sub ? `solves ${solves + 1}, ${sub[1]}` : `solves sub-answer ${solves + 1} of ${call.name}`;
  const nothing = because ? `nothing: ${because}` : 'nothing';
  return make('span', { class: solves === null ? 'no' : 'yes' },
    make('b', { text: name }), ` ${solves === null ? nothing : what}`);
}

// A text, cut where it is very long until its button is pressed.
function long(text, kind) {
  const box = make(kind === 'said' ? 'p' : 'pre', { class: kind, text: text.slice(0, LONG) });
  if (text.length <= LONG) return box;
  const button = make('button', { type: 'button', class: 'more', text: `show all ${text.length.toLocaleString('en')} characters` });
  button.addEventListener('click', () => { box.textContent = text; button.remove(); });
  return make('div', {}, box, button);
}

function facts(full) {
  const { usage } = full;
  const told = [
    full.seconds === null || full.seconds === undefined ? null : `${Number(full.seconds).toFixed(1)} s`,
    usage.input_tokens || usage.output_tokens ? `${usage.input_tokens} tokens in, ${usage.output_tokens} out` : null,
    full.ended ?? `ended by ${full.stop.replaceAll('_', ' ')}`,
  ].filter(Boolean).join(' · ');
  const tools = full.tools && make('details', {}, make('summary', { text: `the ${full.tools.length} tools it was offered` }),
    make('dl', {}, ...full.tools.flatMap(([name, says]) => [make('dt', {}, make('code', { text: name })), make('dd', { text: says })])));
  return make('footer', {}, tools, make('p', { text: told }));
}
