/**
 * A month's statement as a JSON document (docs/audit.md, "Statement"): what `audit replay --json` prints, a bundle holds
 * and a verifier recomputes. Revisions are decimal strings, money is exact decimal USD.
 */
import type { MonthStatement, Place } from '../statements/month.ts'

const place = ({ revision, eventId }: Place) => ({ revision: revision.toString(), eventId })

export function statementDocument(statement: MonthStatement) {
  const { lines, hours, terms, changes, digest, sequences, ...totals } = statement
  const tallied = <T extends { readonly first: Place; readonly last: Place }>(tally: T) => ({
    ...tally,
    first: place(tally.first),
    last: place(tally.last),
  })
  return {
    format: 'liveness-statement/1' as const,
    ...totals,
    terms: terms.map((held) => ({ ...held, revision: held.revision.toString() })),
    lines: lines.map(tallied),
    hours: hours.map(tallied),
    changes: changes.map(({ event, revision, ...logged }) => ({ ...logged, ...event, revision: revision.toString() })),
    ...(sequences === null ? {} : { sequences }),
    digest: { ...digest, first: place(digest.first), last: place(digest.last) },
  }
}
