/**
 * Makes the height and width of an ONNX model's input free.
 *
 * YuNet is published with 640 × 640 written into the graph, though nothing in it needs that: it is convolutions,
 * up-sampling by two, and reshapes whose length is inferred. Declared free, it runs on just the part of the square that
 * the picture fills. The verified file on disk stays untouched; only its copy in memory is rewritten.
 *
 * Field numbers are those of onnx.proto (ModelProto.graph 7; GraphProto.input 11, output 12, value_info 13;
 * ValueInfoProto.type 2; TypeProto.tensor_type 1; Tensor.shape 2; TensorShapeProto.dim 1; Dimension.dim_param 2).
 */
export function freeInputSize(model: Uint8Array): Uint8Array {
  const withFreeSides = edit({ 1: freeSides() })
  return edit({
    7: edit({
      11: edit({ 2: edit({ 1: edit({ 2: withFreeSides }) }) }),
      // The shapes that follow from the input's are inferred anew; those on file would contradict it.
      12: edit({ 2: edit({ 1: edit({ 2: () => null }) }) }),
      13: () => null,
    }),
  })(model)
}

type Edit = (message: Uint8Array) => Uint8Array | null

/** Renames the dimensions of N × C × H × W from the third on; the first two stay as they are. */
function freeSides(): Edit {
  let index = 0
  return (dimension) => {
    const name = ['', '', 'height', 'width'][index++]
    return name ? Buffer.concat([Buffer.from([(2 << 3) | 2, name.length]), Buffer.from(name)]) : dimension
  }
}

/** Copies a protobuf message, with the sub-messages of the given field numbers replaced, or left out (null). */
function edit(edits: Record<number, Edit>): (message: Uint8Array) => Uint8Array {
  return (message) => {
    const parts: Uint8Array[] = []
    for (let at = 0; at < message.length; ) {
      const start = at
      const key = readVarint(message, at)
      at = key.next
      const wireType = key.value & 7
      if (wireType === 0) at = readVarint(message, at).next
      else if (wireType === 1) at += 8
      else if (wireType === 5) at += 4
      else if (wireType === 2) {
        const length = readVarint(message, at)
        at = length.next + length.value
        const change = edits[key.value >>> 3]
        if (change) {
          const content = change(message.subarray(length.next, at))
          if (content) parts.push(writeVarint(key.value), writeVarint(content.length), content)
          continue
        }
      } else throw new Error(`Not an ONNX file: wire type ${wireType} at byte ${start}`)
      parts.push(message.subarray(start, at))
    }
    return Buffer.concat(parts)
  }
}

/** Reads a varint; bits beyond the 32nd are skipped, which only negative numbers have and none is needed here. */
function readVarint(bytes: Uint8Array, start: number): { value: number; next: number } {
  let value = 0
  let next = start
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[next++]
    if (byte === undefined) throw new Error('Not an ONNX file: it ends in the middle of a number')
    if (shift < 32) value |= (byte & 0x7f) << shift
    if (byte < 0x80) return { value: value >>> 0, next }
  }
}

function writeVarint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  bytes.push(rest)
  return Uint8Array.from(bytes)
}
