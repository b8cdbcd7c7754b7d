import sharp from 'sharp'
import type { Pixels, Rect } from './pixels.ts'

/** Side of the square about a face, in pixels, and in sides of the face. */
const SIDE = 128
const FACE_SIDES = 2

/** The square about a face, black where it reaches out of the picture: mirrored faces would be upside-down ones. */
export async function surroundings(picture: Pixels, face: Rect): Promise<Pixels> {
  const side = Math.max(face.width, face.height) * FACE_SIDES
  const factor = SIDE / side
  const columns = span(face.x + face.width / 2 - side / 2, side, picture.width, factor)
  const rows = span(face.y + face.height / 2 - side / 2, side, picture.height, factor)
  const raw = { width: picture.width, height: picture.height, channels: 3 } as const
  const data = await sharp(picture.data, { raw })
    .extract({ left: columns.from, top: rows.from, width: columns.length, height: rows.length })
    .resize(columns.small, rows.small, { fit: 'fill', kernel: 'linear' })
    .extend({ left: columns.before, right: columns.after, top: rows.before, bottom: rows.after, background: '#000000' })
    .raw()
    .toBuffer()
  return { width: SIDE, height: SIDE, data }
}

/** Along one axis: the part of the picture, how long it becomes, and how much is missing before and after it. */
function span(start: number, length: number, limit: number, factor: number) {
  const from = Math.min(Math.max(0, Math.round(start)), limit - 1)
  const to = Math.max(from + 1, Math.min(limit, Math.round(start + length)))
  const small = Math.min(SIDE, Math.max(1, Math.round((to - from) * factor)))
  const before = Math.min(SIDE - small, Math.max(0, Math.round((from - start) * factor)))
  return { from, length: to - from, small, before, after: SIDE - small - before }
}

/** A square picture turned clockwise by 90°. */
export function quarterTurn({ width: side, data }: Pixels): Pixels {
  const turned = new Uint8Array(data.length)
  for (let y = 0, to = 0; y < side; y++) {
    for (let x = 0; x < side; x++, to += 3) {
      const from = ((side - 1 - x) * side + y) * 3
      turned[to] = data[from] as number
      turned[to + 1] = data[from + 1] as number
      turned[to + 2] = data[from + 2] as number
    }
  }
  return { width: side, height: side, data: turned }
}
