import { crc32, deflateSync } from 'node:zlib'
import { PNG } from 'pngjs'
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { decodeImage } from '../../src/inference/image.ts'
import { formatOf, InvalidImage } from '../../src/inference/image-format.ts'
import { countScans } from '../../src/inference/jpeg-scans.ts'
import type { Pixels } from '../../src/inference/pixels.ts'

/** A smooth colour gradient, so that lossy formats keep it nearly. */
const width = 96
const height = 64
const gradient = Buffer.from(
  Array.from({ length: width * height }, (_, i) => [(i % width) * 2, Math.floor(i / width) * 3, 128]).flat(),
)
const source = () => sharp(gradient, { raw: { width, height, channels: 3 } })

function largestDifference(a: Pixels, b: Uint8Array): number {
  expect(a.data).toHaveLength(b.length)
  return a.data.reduce((max, value, i) => Math.max(max, Math.abs(value - (b[i] ?? 0))), 0)
}

function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data])
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  checksum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, checksum])
}

/** A PNG whose header announces any size, with next to no pixels in it. */
function bomb(side: number): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(side, 0)
  header.writeUInt32BE(side, 4)
  header.set([8, 2, 0, 0, 0], 8)
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  const pixels = deflateSync(Buffer.alloc(1000))
  return Buffer.concat([
    signature,
    pngChunk('IHDR', header),
    pngChunk('IDAT', pixels),
    pngChunk('IEND', Buffer.alloc(0)),
  ])
}

describe('pictures that are fine', () => {
  test('a PNG gives exactly its pixels', async () => {
    const picture = await decodeImage(await source().png().toBuffer(), 'png')
    expect(picture).toMatchObject({ width, height })
    expect(largestDifference(picture, gradient)).toBe(0)
  })

  test('a 16-bit PNG is reduced to 8 bits', async () => {
    const png = await source().toColourspace('rgb16').png().toBuffer()
    expect((await sharp(png).metadata()).depth).toBe('ushort')
    expect(largestDifference(await decodeImage(png, 'png'), gradient)).toBeLessThanOrEqual(1)
  })

  test('a 16-bit PNG written by another library is reduced to 8 bits', async () => {
    const data = Buffer.alloc(width * height * 4 * 2)
    const values = new Uint16Array(data.buffer, data.byteOffset, data.length / 2)
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) values[i * 4 + c] = (gradient[i * 3 + c] ?? 0) * 257
      values[i * 4 + 3] = 65535
    }
    const options = { bitDepth: 16, colorType: 2, inputColorType: 6 } as const
    const png = PNG.sync.write(Object.assign(new PNG({ width, height }), { data }), options as never)
    expect((await sharp(png).metadata()).depth).toBe('ushort')
    expect(largestDifference(await decodeImage(png, 'png'), gradient)).toBeLessThanOrEqual(1)
  })

  test('an interlaced PNG gives exactly its pixels', async () => {
    const png = await source().png({ progressive: true }).toBuffer()
    expect((await sharp(png).metadata()).isProgressive).toBe(true)
    expect(largestDifference(await decodeImage(png, 'png'), gradient)).toBe(0)
  })

  test('a CMYK JPEG gives the colours it shows', async () => {
    const grey = sharp({ create: { width: 32, height: 32, channels: 3, background: { r: 200, g: 60, b: 60 } } })
    const jpeg = await grey.toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer()
    expect((await sharp(jpeg).metadata()).space).toBe('cmyk')
    const picture = await decodeImage(jpeg, 'jpeg')
    expect(picture.data).toHaveLength(32 * 32 * 3)
    const [r = 0, g = 0, b = 0] = picture.data
    expect(Math.abs(r - 200)).toBeLessThan(30)
    expect(Math.abs(g - 60)).toBeLessThan(30)
    expect(Math.abs(b - 60)).toBeLessThan(30)
  })

  test('a greyscale JPEG has three equal channels', async () => {
    const jpeg = await source().toColourspace('b-w').jpeg().toBuffer()
    expect((await sharp(jpeg).metadata()).channels).toBe(1)
    const { data } = await decodeImage(jpeg, 'jpeg')
    expect(data).toHaveLength(width * height * 3)
    for (let i = 0; i < data.length; i += 3) expect(data[i] === data[i + 1] && data[i] === data[i + 2]).toBe(true)
  })

  test('a 16-bit greyscale PNG has three equal 8-bit channels', async () => {
    const png = await source().greyscale().toColourspace('grey16').png().toBuffer()
    expect(await sharp(png).metadata()).toMatchObject({ depth: 'ushort', channels: 1 })
    const { data } = await decodeImage(png, 'png')
    expect(data).toHaveLength(width * height * 3)
    expect(Math.max(...data)).toBeGreaterThan(100)
  })

  test('a palette PNG gives its colours', async () => {
    const png = await source().png({ palette: true, colours: 256, dither: 0 }).toBuffer()
    expect(largestDifference(await decodeImage(png, 'png'), gradient)).toBeLessThan(40)
  })

  test('transparent pixels lie over white', async () => {
    const clear = { create: { width: 4, height: 4, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } } } as const
    const { data } = await decodeImage(await sharp(clear).png().toBuffer(), 'png')
    expect([...data]).toEqual(new Array(48).fill(255))
  })

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('EXIF orientation %i is applied', async (orientation) => {
    const jpeg = await source()
      .jpeg({ quality: 100, chromaSubsampling: '4:4:4' })
      .withMetadata({ orientation })
      .toBuffer()
    const picture = await decodeImage(jpeg, 'jpeg')
    const turned = orientation >= 5
    expect([picture.width, picture.height]).toEqual(turned ? [height, width] : [width, height])
    // Red grows to the right and green downwards in the stored pixels; where the upright corner lies tells the turn.
    const [red = 0, green = 0] = picture.data
    const [storedLeft, storedTop] = [red < 60, green < 60]
    const expected: Record<number, [boolean, boolean]> = {
      1: [true, true],
      2: [false, true],
      3: [false, false],
      4: [true, false],
      5: [true, true],
      6: [true, false],
      7: [false, false],
      8: [false, true],
    }
    expect([storedLeft, storedTop]).toEqual(expected[orientation])
  })

  test('a one-pixel picture decodes', async () => {
    const png = await sharp({ create: { width: 1, height: 1, channels: 3, background: '#102030' } })
      .png()
      .toBuffer()
    const picture = await decodeImage(png, 'png')
    expect({ ...picture, data: [...picture.data] }).toEqual({ width: 1, height: 1, data: [16, 32, 48] })
  })
})

describe('pictures that are refused', () => {
  const refusal = async (bytes: Uint8Array, format: 'jpeg' | 'png') => {
    const error = await decodeImage(bytes, format).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(InvalidImage)
    return (error as InvalidImage).message
  }

  test('a PNG declared as jpeg, and the other way round', async () => {
    const [png, jpeg] = [await source().png().toBuffer(), await source().jpeg().toBuffer()]
    expect(await refusal(png, 'jpeg')).toBe('The image is a PNG file, but image_format says jpeg')
    expect(await refusal(jpeg, 'png')).toBe('The image is a JPEG file, but image_format says png')
    expect([formatOf(png), formatOf(jpeg), formatOf(Buffer.from('GIF89a'))]).toEqual(['png', 'jpeg', null])
  })

  test.each(['webp', 'gif', 'tiff', 'avif'] as const)('a %s', async (format) => {
    expect(await refusal(await source().toFormat(format).toBuffer(), 'jpeg')).toBe('The image is not a JPEG file')
  })

  test('an SVG, which libvips could render', async () => {
    const svg = Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    )
    expect(await refusal(svg, 'png')).toBe('The image is not a PNG file')
  })

  test.each([0, 1, 3, 20])('%i bytes', async (length) => {
    await refusal((await source().jpeg().toBuffer()).subarray(0, length), 'jpeg')
  })

  test.each([0.3, 0.5, 0.9, 0.99])('a JPEG cut off at %d of its length', async (share) => {
    const noise = sharp({
      create: {
        width: 300,
        height: 300,
        channels: 3,
        noise: { type: 'gaussian', mean: 128, sigma: 60 },
        background: '#000',
      },
    })
    for (const progressive of [false, true]) {
      const jpeg = await noise.clone().jpeg({ progressive }).toBuffer()
      expect(await refusal(jpeg.subarray(0, Math.floor(jpeg.length * share)), 'jpeg')).toMatch(/damaged or incomplete/)
    }
  })

  test.each([0.3, 0.6, 0.9])('a PNG cut off at %d of its length', async (share) => {
    const noise = sharp({
      create: {
        width: 300,
        height: 300,
        channels: 3,
        noise: { type: 'gaussian', mean: 128, sigma: 60 },
        background: '#000',
      },
    })
    const png = await noise.png().toBuffer()
    expect(await refusal(png.subarray(0, Math.floor(png.length * share)), 'png')).toMatch(/damaged or incomplete/)
  })

  test('a JPEG of thousands of scans, which would take minutes, at once and without decoding', async () => {
    const jpeg = await source().jpeg({ progressive: true }).toBuffer()
    const lastScan = jpeg.lastIndexOf(Buffer.from([0xff, 0xda]))
    const scans = (count: number) => {
      const more = Array.from({ length: count - countScans(jpeg) }, () => jpeg.subarray(lastScan, -2))
      return Buffer.concat([jpeg.subarray(0, -2), ...more, jpeg.subarray(-2)])
    }
    expect(countScans(scans(50))).toBe(50)
    expect(await refusal(scans(51), 'jpeg')).toBe(
      'The image is a JPEG of more than 50 scans: save it anew, as a baseline JPEG',
    )
    expect(await refusal(scans(2_000), 'jpeg')).toContain('50 scans')
    // Of 7000 × 7000 pixels: the frame header's height and width stand behind its marker, length and precision.
    const large = scans(14)
    for (const at of [5, 7]) large.writeUInt16BE(7_000, large.indexOf(Buffer.from([0xff, 0xc2])) + at)
    expect(await refusal(large, 'jpeg')).toBe(
      'The image is a JPEG of 14 scans, too many for its size: save it anew, as a baseline JPEG',
    )
  })

  test('a bomb of 30,000 × 30,000 pixels, at once and without decoding', async () => {
    const start = performance.now()
    expect(await refusal(bomb(30_000), 'png')).toBe('The image has more than 50 million pixels')
    expect(performance.now() - start).toBeLessThan(1000)
  })

  test('a header that announces a size no picture can have', async () => {
    await refusal(bomb(0), 'png')
    await refusal(bomb(2 ** 31 - 1), 'png')
  })

  test('a PNG that has fewer pixels than it announces', async () => {
    expect(await refusal(bomb(1000), 'png')).toMatch(/damaged or incomplete/)
  })
})
