/** How commands speak: results on stdout, everything else on stderr, one sentence for each error. */
import { InvalidArgumentError } from 'commander'
import { z } from 'zod'

/** A command that cannot do what it was asked; the message is the whole story. */
export class CommandError extends Error {
  override name = 'CommandError'
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`)
}

/** Rows under a heading, columns as wide as they need to be. */
export function printTable(heading: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  const lines = [heading, ...rows.map((row) => row.map(String))]
  const widths = heading.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  for (const line of lines)
    print(
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

/** Makes an argument parser for commander of a schema; `expects` completes "must be …". */
export function argument<T>(schema: z.ZodType<T>, expects: string): (value: string) => T {
  return (value) => {
    const parsed = schema.safeParse(value)
    if (!parsed.success) throw new InvalidArgumentError(`It must be ${expects}.`)
    return parsed.data
  }
}

/** In the letters of the stream's name: Postgres finds one in capitals, the event store does not. */
export const customerIdArgument = argument(
  z.uuid().toLowerCase(),
  "a customer's id, as `liveness customer list` shows it",
)
export const onOffArgument = argument(
  z.enum(['on', 'off']).transform((value) => value === 'on'),
  'on or off',
)
export const reasonArgument = argument(z.string().trim().min(1), 'a reason, in words')
