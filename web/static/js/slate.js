/** The picture while the camera is paused: a calm slate, two frames a second, so that the recording keeps its time. */

const [WIDTH, HEIGHT] = [1280, 720];
const BOARD = '#1e4d3d';
const CHALK = '#f2f4ea';

/** A video track that shows `words()` in chalk; `track.stop()` ends it. */
export function slateTrack(words) {
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const pen = canvas.getContext('2d');
  let tick = 0;
  const draw = () => {
    pen.fillStyle = BOARD;
    pen.fillRect(0, 0, WIDTH, HEIGHT);
    pen.fillStyle = CHALK;
    pen.textAlign = 'center';
    pen.font = '600 64px "Noto Serif CJK SC", "Songti SC", SimSun, serif';
    pen.fillText(words(), WIDTH / 2, HEIGHT / 2, WIDTH - 120);
    // Something moves: encoders send nothing for a still picture.
    pen.fillRect(WIDTH / 2 - 60, HEIGHT / 2 + 60, 30 + (tick % 4) * 30, 4);
    tick += 1;
  };
  draw();
  const track = canvas.captureStream(2).getVideoTracks()[0];
  const timer = setInterval(() => {
    if (track.readyState === 'ended') clearInterval(timer);
    else draw();
  }, 500);
  return track;
}
