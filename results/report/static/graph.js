// What depends on what: sub-answers from left to right, solved ones marked.

const SVG = 'http://www.w3.org/2000/svg';
const [NODE_WIDTH, NODE_HEIGHT, GAP_X, GAP_Y] = [168, 50, 30, 14];
const TEXT_LEFT = 36;
const ROOM = NODE_WIDTH - TEXT_LEFT - 9;

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const ruler = document.createElement('canvas').getContext('2d');

// As much of a text as fits into so many pixels. `font`: size and family as in report.css.
function fitted(text, room, font, family) {
  ruler.font = `${font} ${getComputedStyle(root).getPropertyValue(family)}`;
  if (ruler.measureText(text).width <= room) return text;
  const letters = [...text.slice(0, 200)];
  while (letters.length && ruler.measureText(`${letters.join('')}…`).width > room) letters.pop();
  return `${letters.join('').trimEnd()}…`;
}

// `wanted`: [tool, answer, question, depends_on]; `solved`: by whom, {strict: Map, paper: Map} of number to call.
function graph(wanted, solved, onChoose) {
  const depth = [];
  const lanes = [];
  const placed = wanted.map(([, , , depends], number) => {
    depth[number] = depends.length ? 1 + Math.max(...depends.map((other) => depth[other])) : 0;
    const lane = lanes[depth[number]] ?? 0;
    lanes[depth[number]] = lane + 1;
    return { column: depth[number], lane };
  });
  const most = Math.max(...lanes);
  for (const place of placed) {
    const lead = ((most - lanes[place.column]) * (NODE_HEIGHT + GAP_Y)) / 2;
    place.x = 4 + place.column * (NODE_WIDTH + GAP_X);
    place.y = 4 + lead + place.lane * (NODE_HEIGHT + GAP_Y);
  }
  const width = 8 + lanes.length * (NODE_WIDTH + GAP_X) - GAP_X;
  const height = 8 + most * (NODE_HEIGHT + GAP_Y) - GAP_Y;
  const count = wanted.filter((_, number) => solved.strict.has(number)).length;
  const says = `${count} of ${wanted.length} sub-answers found, by the strict rule`;
  const svg = draw('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': says });
  wanted.forEach(([, , , depends], number) => {
    for (const other of depends) svg.append(edge(placed[other], placed[number], solved.strict.has(other)));
  });
  wanted.forEach((sub, number) => svg.append(node(sub, number, placed[number], solved, onChoose)));
  svg.style.minWidth = `${width * 0.85}px`; // wide ones shrink a little before they scroll
  return make('div', { class: 'graph scroll' }, svg);
}

function edge(from, to, solved) {
  const [x1, y1] = [from.x + NODE_WIDTH, from.y + NODE_HEIGHT / 2];
  const [x2, y2] = [to.x, to.y + NODE_HEIGHT / 2];
  const middle = (x1 + x2) / 2;
  return draw('path', { d: `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`, class: solved ? 'edge solved' : 'edge' });
}

function node([tool, answer, question], number, { x, y }, solved, onChoose) {
  const strict = solved.strict.has(number);
  const paper = solved.paper.has(number);
  const state = strict ? 'solved' : paper ? 'paper' : 'open';
  const told = strict ? 'found' : paper ? "found by the paper's rule only" : 'not found';
  const put = (attributes, text) => {
    const element = draw('text', attributes);
    element.textContent = text;
    return element;
  };
  const title = draw('title', {});
  title.textContent = `${number + 1}. ${question || tool}\n${answer}\n${told}`;
  const group = draw('g', { class: `node ${state}`, transform: `translate(${x},${y})` }, title,
    draw('rect', { width: NODE_WIDTH, height: NODE_HEIGHT, rx: 7 }),
    draw('circle', { cx: 18, cy: NODE_HEIGHT / 2, r: 10 }),
    put({ x: 18, y: NODE_HEIGHT / 2 + 4, 'text-anchor': 'middle', class: 'number' }, strict ? '✓' : String(number + 1)),
    put({ x: TEXT_LEFT, y: 21, class: 'answer' }, fitted(answer, ROOM, '560 12.5px', '--sans')),
    put({ x: TEXT_LEFT, y: 38, class: 'tool' }, fitted(tool, ROOM, '10.5px', '--mono')));
  const call = solved.strict.get(number) ?? solved.paper.get(number);
  if (call !== undefined) {
    group.setAttribute('tabindex', '0');
    group.setAttribute('role', 'button');
    group.setAttribute('aria-label', `${number + 1}. ${answer}, ${told}: go to the call`);
    group.addEventListener('click', () => onChoose(call));
    group.addEventListener('keydown', (event) => { if (event.key === 'Enter') { event.stopPropagation(); onChoose(call); } });
  } else {
    group.setAttribute('role', 'img');
    group.setAttribute('aria-label', `${number + 1}. ${answer}, ${told}`);
  }
  return group;
}
