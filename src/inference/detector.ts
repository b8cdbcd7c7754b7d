import { createBlazeFace } from './blazeface.ts'
import type { FaceDetector } from './face.ts'
import type { ResolvedSet } from './manifest.ts'
import { createYunet } from './yunet.ts'

/** Loads a set's detector. @param read gives the weights of a file of the set */
export async function createDetector(
  detector: ResolvedSet['detector'],
  read: (file: string) => Promise<Uint8Array>,
  threads = 1,
): Promise<FaceDetector> {
  if (detector.kind === 'yunet') return createYunet(await read(detector.model.file), detector, threads)
  const [front, back] = await Promise.all([read(detector.front.file), read(detector.back.file)])
  return createBlazeFace({ front, back }, detector, threads)
}
