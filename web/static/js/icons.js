/** The icons, drawn by hand on a 24-unit grid with one pen (stroke 1.75); every one is decoration beside words. */

const NS = 'http://www.w3.org/2000/svg';

const PATHS = {
  mic: ['M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3z', 'M6 11a6 6 0 0 0 12 0', 'M12 17v4', 'M9 21h6'],
  'mic-off': [
    'M9 9v2a3 3 0 0 0 4.5 2.6', 'M15 10V6a3 3 0 0 0-5.7-1.3', 'M6 11a6 6 0 0 0 9.4 5',
    'M18 11c0 1-.2 1.9-.6 2.7', 'M12 17v4', 'M9 21h6', 'M4 3l16 18',
  ],
  camera: [
    'M3 7.5A1.5 1.5 0 0 1 4.5 6h9A1.5 1.5 0 0 1 15 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 3 16.5z',
    'M15 10.5l6-3.5v10l-6-3.5',
  ],
  'camera-off': [
    'M9.5 6h4A1.5 1.5 0 0 1 15 7.5v4',
    'M14.6 17.5c-.3.3-.7.5-1.1.500h-9A1.5 1.5 0 0 1 3 16.5v-9A1.5 1.5 0 0 1 4.5 6H5',
    'M15 10.5l6-3.5v10l-3-1.7', 'M4 3l16 18',
  ],
  pause: ['M8 5v14', 'M16 5v14'],
  play: ['M7 5l12 7-12 7z'],
  screen: ['M3 5h18v12H3z', 'M12 17v4', 'M8 21h8', 'M12 13V8.5', 'M9.5 10.5L12 8l2.5 2.5'],
  film: ['M4 4h16v16H4z', 'M4 9h16', 'M4 15h16', 'M9 4v5', 'M15 4v5', 'M9 15v5', 'M15 15v5'],
  expand: ['M4 9V4h5', 'M15 4h5v5', 'M20 15v5h-5', 'M9 20H4v-5'],
  shrink: ['M9 4v5H4', 'M20 9h-5V4', 'M15 20v-5h5', 'M4 15h5v5'],
  sound: ['M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z', 'M15.5 9a4.2 4.2 0 0 1 0 6', 'M18 6.5a7.8 7.8 0 0 1 0 11'],
  'sound-off': ['M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z', 'M16 9.5l5 5', 'M21 9.5l-5 5'],
  layers: ['M12 4l9 4.5-9 4.5-9-4.5z', 'M3.5 12.5L12 17l8.5-4.5', 'M3.5 16.5L12 21l8.5-4.5'],
  book: ['M12 6c-2-1.5-5-2-8-2v14c3 0 6 .5 8 2 2-1.5 5-2 8-2V4c-3 0-6 .5-8 2z', 'M12 6v14'],
  search: ['M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13z', 'M15.5 15.5L20 20'],
  download: ['M12 4v11', 'M7.5 11l4.5 4.5 4.5-4.5', 'M4 20h16'],
  stop: ['M6 6h12v12H6z'],
  people: [
    'M9 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6z', 'M3 19c0-3.5 2.5-5.5 6-5.5s6 2 6 5.5', 'M16 6a2.5 2.5 0 0 1 0 5',
    'M17.5 14c2.2.6 3.5 2.4 3.5 5',
  ],
  check: ['M5 12.5l4.5 4.5L19 7.5'],
  warn: ['M12 4l9.5 16h-19z', 'M12 10v4.5', 'M12 17.3v.2'],
  cross: ['M6 6l12 12', 'M18 6L6 18'],
  arrow: ['M5 12h14', 'M13 6l6 6-6 6'],
  link: ['M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1', 'M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1'],
  edit: ['M5 19l1-4L16 5l3 3L9 18z', 'M14 7l3 3'],
  keyboard: ['M3 6h18v12H3z', 'M7 10h.01', 'M11 10h.01', 'M15 10h.01', 'M18 10h.01', 'M7 14h10'],
  board: ['M3 5h18v12H3z', 'M7 17l-2 4', 'M17 17l2 4', 'M7 12c2-4 4-4 5-1s3 2 5-2'],
  line: ['M4 19v-4', 'M9.3 19v-8', 'M14.6 19V8', 'M20 19V5'],
};

function shape(tag, attributes) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const drawing = (name, size) =>
  shape('svg', { class: name, viewBox: `0 0 ${size} ${size}`, 'aria-hidden': 'true', focusable: 'false' });

export function icon(name) {
  const svg = drawing('icon', 24);
  svg.dataset.name = name;
  for (const d of PATHS[name] || []) svg.append(shape('path', { d }));
  return svg;
}

/** How a seat is: a colour and a shape, so that neither is needed to tell them apart. */
const MARKS = {
  watching: [
    ['circle', { cx: 8, cy: 8, r: 6.5, class: 'full' }],
    ['path', { d: 'M5 8.3l2.2 2.2L11.2 6', class: 'cut' }],
  ],
  poor: [['path', { d: 'M8 1.5l7 13H1z', class: 'full' }], ['path', { d: 'M8 6v4M8 12.2v.3', class: 'cut' }]],
  connecting: [['circle', { cx: 8, cy: 8, r: 6, class: 'dash' }]],
  waiting: [['circle', { cx: 8, cy: 8, r: 6, class: 'ring' }]],
  gone: [['path', { d: 'M3 3l10 10M13 3L3 13', class: 'ring' }]],
};

export function seatMark(state) {
  const svg = drawing(`mark mark-${state}`, 16);
  for (const [tag, attributes] of MARKS[state] || MARKS.waiting) svg.append(shape(tag, attributes));
  return svg;
}

/** Our mark: a practice cell (the grid a child learns to write in) under an arc of sky. */
export function brandMark() {
  const svg = drawing('brand-mark', 32);
  svg.append(
    shape('rect', { x: 2, y: 2, width: 28, height: 28, rx: 4, class: 'cell' }),
    shape('path', { d: 'M16 4v24M4 16h24', class: 'guide' }),
    shape('path', { d: 'M7 20a9 9 0 0 1 18 0', class: 'sky' }),
    shape('circle', { cx: 16, cy: 20, r: 2.6, class: 'sun' }),
  );
  return svg;
}
