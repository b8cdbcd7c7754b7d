import sharp from 'sharp'
import type { Pixels } from './pixels.ts'

/** The whole picture at another size. A detector looks at this; classifiers' crops are taken from the original. */
export async function scaled(picture: Pixels, factor: number): Promise<Pixels> {
  if (factor === 1) return picture
  const width = Math.max(1, Math.round(picture.width * factor))
  const height = Math.max(1, Math.round(picture.height * factor))
  const raw = { width: picture.width, height: picture.height, channels: 3 } as const
  // sharp's linear kernel widens with the factor (it averages), as the reference's area interpolation does.
  const data = await sharp(picture.data, { raw })
    .resize(width, height, { fit: 'fill', kernel: 'linear' })
    .raw()
    .toBuffer()
  return { width, height, data }
}
