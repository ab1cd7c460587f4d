// What every part of a page uses: elements, numbers, an episode of the list.

const byId = (id) => document.getElementById(id);

const FACTS = ['epoch', 'outcome', 'score', 'paper', 'answer', 'calls', 'said'];

// `about`: run, task, metric (its heading), sample, id, question, cause; `facts`: the values of FACTS.
function episodeOf(number, about, facts) {
  const episode = { number, ...about };
  FACTS.forEach((name, column) => { episode[name] = facts[column]; });
  const { id, question, said, task, run, cause, outcome } = episode;
  episode.text = [id, question, said, task, run.label, cause?.label ?? '', outcome].join('\n').toLowerCase();
  return episode;
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
