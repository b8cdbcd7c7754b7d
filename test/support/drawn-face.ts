import sharp from 'sharp'

/**
 * A drawn face before a wall, 480 × 640, as JPEG: for tests that need a picture with a face and nobody's photograph.
 * Both detectors find it; what the classifiers make of it means nothing.
 *
 * @param quality another one makes other bytes
 */
export function drawnFace(quality = 92): Promise<Buffer> {
  const eye = (x: number) => `
    <ellipse cx="${x}" cy="296" rx="15" ry="8" fill="#f4efe9"/>
    <circle cx="${x}" cy="296" r="8" fill="#4a3524"/><circle cx="${x}" cy="296" r="4" fill="#120c08"/>
    <circle cx="${x + 3}" cy="293" r="2" fill="#ffffff"/>
    <path d="M${x - 17} 295q17 -15 34 0" fill="none" stroke="#3a271b" stroke-width="4"/>
    <path d="M${x - 20} 275q20 -13 40 -1" fill="none" stroke="#2e1f16" stroke-width="8"/>`
  const svg = `
    <svg xmlns="http://www.w3.org/2000/svg" width="480" height="640">
      <defs>
        <linearGradient id="wall" x1="0" y1="0" x2="1" y2="1">
          <stop offset="0" stop-color="#9fb0b8"/><stop offset="1" stop-color="#6d7f88"/>
        </linearGradient>
        <radialGradient id="skin" cx="0.42" cy="0.4" r="0.7">
          <stop offset="0" stop-color="#eec3a2"/><stop offset="0.6" stop-color="#d9a07c"/><stop offset="1" stop-color="#a86d4e"/>
        </radialGradient>
      </defs>
      <rect width="480" height="640" fill="url(#wall)"/>
      <path d="M70 640q10 -150 120 -175h100q110 25 120 175z" fill="#2f4a6b"/>
      <path d="M200 400h80v90q-40 30 -80 0z" fill="#b97f5e"/>
      <ellipse cx="240" cy="285" rx="104" ry="140" fill="#33231a"/>
      <ellipse cx="240" cy="310" rx="86" ry="118" fill="url(#skin)"/>
      <path d="M150 280q20 -105 90 -105t90 105q-30 -60 -90 -62t-90 62z" fill="#33231a"/>
      ${eye(204)}${eye(276)}
      <path d="M234 300q-4 30 -14 48q10 10 22 9q12 1 20 -9" fill="none" stroke="#a66f51" stroke-width="5"/>
      <ellipse cx="230" cy="350" rx="5" ry="3" fill="#7c4a35"/><ellipse cx="251" cy="350" rx="5" ry="3" fill="#7c4a35"/>
      <path d="M204 384q36 -14 72 0q-36 30 -72 0z" fill="#a8483f"/>
      <path d="M204 384q36 8 72 0" fill="none" stroke="#6e2a26" stroke-width="3"/>
      <ellipse cx="184" cy="345" rx="20" ry="14" fill="#e09a80" opacity="0.5"/>
      <ellipse cx="296" cy="345" rx="20" ry="14" fill="#cf8668" opacity="0.5"/>
    </svg>`
  return sharp(Buffer.from(svg)).blur(0.7).flatten().jpeg({ quality }).toBuffer()
}
