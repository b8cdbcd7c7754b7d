import sharp from 'sharp'

interface Rectangle {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

const colours = { live: '#16a34a', fake: '#dc2626', other: '#9ca3af' }

/**
 * A JPEG copy of a photograph with the faces framed: the judged one green (live) or red (fake), others grey.
 * Rectangles are in the pixels of the upright picture, as the API answers them.
 */
export async function drawFaces(
  photograph: Buffer,
  verdict: { readonly isFakeFace: boolean; readonly faceRectArea: Rectangle; readonly vFaceRect: readonly Rectangle[] },
): Promise<Buffer> {
  const { data, info } = await sharp(photograph).autoOrient().toBuffer({ resolveWithObject: true })
  const stroke = Math.max(2, Math.round(Math.max(info.width, info.height) / 200))
  const frame = ({ x, y, width, height }: Rectangle, colour: string, wide: number) =>
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="none" stroke="${colour}" stroke-width="${wide}"/>`
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${info.width}" height="${info.height}">`,
    ...verdict.vFaceRect.map((rectangle) => frame(rectangle, colours.other, Math.ceil(stroke / 2))),
    frame(verdict.faceRectArea, verdict.isFakeFace ? colours.fake : colours.live, stroke),
    '</svg>',
  ].join('')
  return sharp(data)
    .composite([{ input: Buffer.from(svg) }])
    .jpeg({ quality: 92 })
    .toBuffer()
}
