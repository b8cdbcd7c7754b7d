/** What a schema refused, in the words of docs/audit.md and with the field's name. Pure. */
import { z } from 'zod'
import type { UnreadableEvent } from '../events/parse.ts'

type Issue = z.core.$ZodIssue

const kinds: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'an integer',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  uuid: 'a UUID',
  base64: 'Base64',
  datetime: 'an instant as YYYY-MM-DDTHH:MM:SS.mmmZ',
}

/** @param value what was refused: a field that is not there is called missing then */
export function formFault({ issues: [issue] }: z.ZodError, value?: unknown): string {
  if (issue === undefined) return 'it is not of its form'
  const field = issue.path.map(String).join('.')
  if (issue.code === 'unrecognized_keys') {
    return `${field === '' ? 'it' : `"${field}"`} has a field too many, "${issue.keys[0]}"`
  }
  if (field === '') return 'it is no object'
  if (value !== undefined && at(value, issue.path) === undefined) return `"${field}" is missing`
  const kind = kinds[kindOf(issue)]
  return kind === undefined ? `"${field}" is not of its form` : `"${field}" is not ${kind}`
}

/** Of an event whose place is said beside it. */
export function eventFault({ cause, message }: UnreadableEvent): string {
  if (cause instanceof z.ZodError) return `it cannot be read: ${formFault(cause)}`
  return cause instanceof Error ? `it cannot be read: ${cause.message}` : message
}

const kindOf = (issue: Issue): string =>
  issue.code === 'invalid_type' ? issue.expected : issue.code === 'invalid_format' ? issue.format : ''

const at = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce((inner, key) => (inner as Record<PropertyKey, unknown> | null | undefined)?.[key], value)
