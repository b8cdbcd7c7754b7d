import sharp from 'sharp'
import { expect, test } from 'vitest'
import { countScans } from '../../src/inference/jpeg-scans.ts'

const noise = sharp({
  create: { width: 80, height: 60, channels: 3, noise: { type: 'gaussian', mean: 128, sigma: 60 }, background: '#000' },
})
const sos = Buffer.from([0xff, 0xda])

test('a baseline JPEG has one scan, a progressive one about ten', async () => {
  expect(countScans(await noise.clone().jpeg({ quality: 100 }).toBuffer())).toBe(1)
  expect(countScans(await noise.clone().jpeg({ progressive: true }).toBuffer())).toBe(10)
})

test('a preview in EXIF, what follows the end, and bytes that look like a marker do not count', async () => {
  const jpeg = await noise.clone().jpeg({ quality: 100 }).toBuffer()
  const preview = Buffer.concat(Array.from({ length: 100 }, () => sos))
  const segment = Buffer.concat([Buffer.from([0xff, 0xe1, 0, preview.length + 2]), preview])
  expect(countScans(Buffer.concat([jpeg.subarray(0, 2), segment, jpeg.subarray(2), preview]))).toBe(1)
  expect(countScans(Buffer.concat([jpeg.subarray(0, 2), Buffer.from([0xff, 0xff]), jpeg.subarray(2)]))).toBe(1)
})

test.each([0, 1, 2, 3, 5, 20, 300, 700])('of %i bytes those scans that are there are counted', async (length) => {
  const jpeg = (await noise.clone().jpeg().toBuffer()).subarray(0, length)
  expect(countScans(jpeg)).toBe(jpeg.includes(sos) ? 1 : 0)
})

test.each([0x01, 0x02, 0xbf, 0xd0])(
  'a marker without a segment, %i, hides no scans: decoders read on behind it',
  async (marker) => {
    const jpeg = await noise.clone().jpeg({ progressive: true }).toBuffer()
    const at = jpeg.indexOf(sos)
    const hidden = jpeg.subarray(at, -2)
    const length = Buffer.alloc(2)
    length.writeUInt16BE(hidden.length + 2)
    const bridge = Buffer.concat([Buffer.from([0xff, marker]), length])
    expect(countScans(Buffer.concat([jpeg.subarray(0, -2), bridge, hidden, jpeg.subarray(-2)]))).toBe(20)
  },
)
