import { performance } from 'node:perf_hooks'
import sharp, { type Sharp } from 'sharp'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatOf, InvalidImage } from '../../src/inference/image-format.ts'
import { type Inference, startInference } from '../../src/inference/inference.ts'
import { loadManifest, resolveSet } from '../../src/inference/manifest.ts'
import { overlap, type Rect } from '../../src/inference/pixels.ts'
import {
  modelsDir,
  notUpright,
  photograph,
  references,
  turned,
  turnsFound,
  withoutPhotographs,
  withoutWeights,
} from './support.ts'

const ensemble = resolveSet(await loadManifest(), 'ensemble')
const skip = withoutPhotographs || withoutWeights

describe.skipIf(skip)('with the real models', () => {
  let inference: Inference
  beforeAll(async () => {
    inference = await startInference({ modelsDir, set: ensemble, spoofThreshold: 0.15 })
  })
  afterAll(() => inference.close())

  const check = (bytes: Buffer) => inference.check(bytes, formatOf(bytes) ?? 'jpeg')
  const upright = (name: string) => sharp(photograph(name)).autoOrient()
  const refusal = async (bytes: Buffer, format: 'jpeg' | 'png') => {
    const error = await inference.check(bytes, format).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(InvalidImage)
    return (error as InvalidImage).message
  }

  describe.each(skip ? [] : references())('%s', (name, reference) => {
    const boxes = reference.faces.map(({ box: [x, y, width, height] }) => ({ x, y, width, height }))

    test('faces, raw scores and verdict agree with the independent implementation', async () => {
      const { verdict, diagnostics } = await check(photograph(name))
      expect(verdict.isFakeFace).toBe(name.startsWith('spoof/'))
      expect(verdict.isValidFace).toBe(true)
      expect(verdict.faces).toHaveLength(boxes.length)
      boxes.forEach((box, i) => {
        const nearest = (rects: Rect[]) =>
          rects.reduce((best, rect) => (overlap(rect, box) > overlap(best, box) ? rect : best))
        expect(overlap(nearest(verdict.faces), box)).toBeGreaterThanOrEqual(0.9)
        const face = diagnostics.faces.find(
          (found) => found.box === nearest(diagnostics.faces.map((found) => found.box)),
        )
        expect(Math.abs((face?.score ?? 0) - (reference.faces[i]?.score ?? 1))).toBeLessThanOrEqual(0.05)
      })
      for (const [model, score] of Object.entries(reference.spoof)) {
        expect(Math.abs((diagnostics.rawScores[model] ?? Number.NaN) - score)).toBeLessThanOrEqual(0.05)
      }
      expect(Math.abs(diagnostics.quality.scene - reference.f)).toBeLessThan(0.05)
    })

    test('the largest face is adopted and every rectangle has integer edges inside the picture', async () => {
      const { verdict } = await check(photograph(name))
      const [width, height] = reference.size
      expect(verdict.faces[0]).toEqual(verdict.face)
      const areas = verdict.faces.map((face) => face.width * face.height)
      expect(Math.max(...areas)).toBe(areas[0])
      for (const face of verdict.faces) {
        expect(Object.values(face).every(Number.isInteger)).toBe(true)
        expect(face.x >= 0 && face.y >= 0 && face.x + face.width <= width && face.y + face.height <= height).toBe(true)
      }
      expect(verdict.msg).toBe(
        boxes.length > 1 ? `${boxes.length} faces were detected; the largest one was judged.` : '',
      )
    })
  })

  test('the same face in a CMYK JPEG, a 16-bit PNG, an interlaced PNG and a PNG with transparency is found and live', async () => {
    const original = (await check(photograph('live/t1.jpg'))).verdict.face
    const variants = [
      upright('live/t1.jpg').toColourspace('cmyk').jpeg({ quality: 90 }),
      upright('live/t1.jpg').toColourspace('rgb16').png(),
      upright('live/t1.jpg').png({ progressive: true }),
      upright('live/t1.jpg').ensureAlpha(0.99).png(),
      upright('live/t1.jpg').toColourspace('b-w').jpeg({ quality: 95 }),
    ]
    for (const variant of variants) {
      const { verdict } = await check(await variant.toBuffer())
      expect(overlap(verdict.face, original)).toBeGreaterThan(0.9)
      expect(verdict).toMatchObject({ isFakeFace: false, isValidFace: true })
    }
  })

  test.each([
    [3, 180],
    [6, 270],
    [8, 90],
  ])('a photograph with EXIF orientation %i gives the rectangle of the upright one', async (orientation, turn) => {
    const original = (await check(photograph('live/scene5.jpg'))).verdict.face
    const turned = sharp(await sharp(photograph('live/scene5.jpg')).rotate(turn).toBuffer())
    const { verdict } = await check(await turned.withMetadata({ orientation }).jpeg({ quality: 95 }).toBuffer())
    expect(overlap(verdict.face, original)).toBeGreaterThan(0.9)
  })

  test('pictures without a face are refused in words: a plain one, noise, one pixel', async () => {
    const plain = sharp({ create: { width: 640, height: 480, channels: 3, background: '#7f9f7f' } })
    const pixel = sharp({ create: { width: 1, height: 1, channels: 3, background: '#102030' } })
    const noise = sharp({
      create: {
        width: 400,
        height: 300,
        channels: 3,
        background: '#000',
        noise: { type: 'gaussian', mean: 128, sigma: 40 },
      },
    })
    expect(await refusal(await plain.jpeg().toBuffer(), 'jpeg')).toMatch(
      /^No face was detected: send the picture the right way up/,
    )
    expect(await refusal(await noise.png().toBuffer(), 'png')).toMatch(
      /^No face was detected: send the picture the right way up/,
    )
    expect(await refusal(await pixel.png().toBuffer(), 'png')).toMatch(
      /^No face was detected: send the picture the right way up/,
    )
    expect(await refusal(await pixel.jpeg().toBuffer(), 'jpeg')).toMatch(
      /^No face was detected: send the picture the right way up/,
    )
  })

  test('very long and very flat pictures are handled', async () => {
    for (const [width, height] of [
      [8000, 3],
      [3, 8000],
    ] as const) {
      const strip = sharp({ create: { width, height, channels: 3, background: '#808080' } })
      expect(await refusal(await strip.png().toBuffer(), 'png')).toMatch(
        /^No face was detected: send the picture the right way up/,
      )
    }
  })

  test('a truncated JPEG and a PNG declared as jpeg are refused', async () => {
    const jpeg = photograph('live/t1.jpg')
    expect(await refusal(jpeg.subarray(0, jpeg.length / 2), 'jpeg')).toMatch(/damaged or incomplete/)
    expect(await refusal(await upright('live/t1.jpg').png().toBuffer(), 'jpeg')).toMatch(/is a PNG file/)
  })

  describe('validity', () => {
    const judged = async (picture: Sharp) => (await check(await picture.png().toBuffer())).verdict

    test('a dark, a blurred and a small face are judged, and not valid', async () => {
      const dark = await judged(upright('live/t1.jpg').linear(0.25, 0))
      expect(dark).toMatchObject({ isValidFace: false })
      expect(dark.msg).toContain('The face is too dark')
      const blurred = await judged(upright('live/t1.jpg').blur(8))
      expect(blurred).toMatchObject({ isValidFace: false })
      expect(blurred.msg).toContain('The face is not sharp enough')
      const small = await judged(upright('live/t1.jpg').resize(120))
      expect(small).toMatchObject({ isValidFace: false })
      expect(small.msg).toContain('The face is too small')
    })

    test('a face that fills the picture is not valid, and the message asks for more scene', async () => {
      const { face } = (await check(photograph('live/t1.jpg'))).verdict
      const area = { left: face.x - 20, top: face.y - 20, width: face.width + 40, height: face.height + 40 }
      const tight = await judged(sharp(await upright('live/t1.jpg').extract(area).png().toBuffer()))
      expect(tight.isValidFace).toBe(false)
      expect(tight.msg).toContain('The face is too close: leave more of the scene around it.')
    })

    test.each(turnsFound.yunet)(
      '%s, turned by %i°, is not valid, and the message says what to do',
      async (name, turn) => {
        expect(await judged(turned(name, turn))).toMatchObject({
          isValidFace: false,
          msg: expect.stringContaining(notUpright),
        })
      },
    )

    test.each([15, -15])('a face tilted by %i° is valid', async (tilt) => {
      expect(await judged(turned('live/portrait.jpg', tilt))).toMatchObject({ isValidFace: true })
    })

    test('a face cut off by the edge is not valid', async () => {
      const { face } = (await check(photograph('live/portrait.jpg'))).verdict
      const left = Math.round(face.x + face.width * 0.3)
      const cut = await judged(
        sharp(
          await upright('live/portrait.jpg')
            .extract({ left, top: 0, width: 750 - left, height: 500 })
            .png()
            .toBuffer(),
        ),
      )
      expect(cut.isValidFace).toBe(false)
      expect(cut.msg).toContain('The face is cut off by the edge of the picture')
    })
  })

  test('the bytes are handed over, not copied', async () => {
    const bytes = new Uint8Array(photograph('live/t1.jpg'))
    await inference.check(bytes, 'jpeg')
    expect(bytes.byteLength).toBe(0)
    await expect(inference.check(bytes, 'jpeg')).rejects.toThrow()
    await expect(check(photograph('live/t1.jpg'))).resolves.toBeTruthy() // and the pool goes on
  })

  test('the main thread stays free while pictures are judged', async () => {
    const pictures = Array.from({ length: 16 }, () => photograph('live/scene9.jpg'))
    const before = performance.eventLoopUtilization()
    await Promise.all(pictures.map(check))
    expect(performance.eventLoopUtilization(before).utilization).toBeLessThan(0.3)
  })

  test('the same picture always gets the same likelihood, whatever runs beside it', async () => {
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => check(photograph(i % 3 ? 'spoof/f1.jpg' : 'live/scene22.jpg'))),
    )
    expect(new Set(answers.map(({ verdict }) => verdict.likelihoodMillionths)).size).toBe(2)
  })
})

test.skipIf(skip)('the threshold is the one given', async () => {
  const strict = await startInference({ modelsDir, set: ensemble, spoofThreshold: 0.00001, threads: 1 })
  try {
    const { verdict } = await strict.check(photograph('live/scene22.jpg'), 'jpeg')
    expect(verdict.isFakeFace).toBe(verdict.likelihoodMillionths > 10)
    expect(verdict.isFakeFace).toBe(true)
    expect(strict.set).toEqual({ name: 'ensemble', version: ensemble.version })
  } finally {
    await strict.close()
  }
})
