import { InferenceSession, Tensor } from 'onnxruntime-node'
import type { InputLayout } from './manifest.ts'
import { silenceRuntime } from './telemetry.ts'

/** @param threads computing threads for one picture */
export function createSession(model: Uint8Array, threads: number): Promise<InferenceSession> {
  silenceRuntime()
  return InferenceSession.create(model, { intraOpNumThreads: threads, interOpNumThreads: 1, logSeverityLevel: 3 })
}

/**
 * Interleaved RGB pixels as a 1 × 3 × height × width tensor. Where the tensor is larger than the picture, the rest
 * stays zero on the right and at the bottom.
 */
export function toTensor(
  picture: { data: ArrayLike<number>; width: number; height: number },
  layout: InputLayout,
  tensorWidth: number,
  tensorHeight: number,
): Tensor {
  const plane = tensorWidth * tensorHeight
  const values = new Float32Array(3 * plane)
  const [first, last] = layout.channels === 'RGB' ? [0, 2] : [2, 0]
  const factor = 1 / layout.divideBy
  const { data, width, height } = picture
  for (let y = 0, from = 0; y < height; y++) {
    for (let to = y * tensorWidth, end = to + width; to < end; to++, from += 3) {
      values[to] = (data[from + first] as number) * factor
      values[to + plane] = (data[from + 1] as number) * factor
      values[to + 2 * plane] = (data[from + last] as number) * factor
    }
  }
  return new Tensor('float32', values, [1, 3, tensorHeight, tensorWidth])
}

/** One output's numbers. @throws Error when the model does not have that output */
export function floats(outputs: InferenceSession.ReturnType, name: string): Float32Array {
  const data = outputs[name]?.data
  if (!(data instanceof Float32Array)) throw new Error(`The model has no float output "${name}"`)
  return data
}
