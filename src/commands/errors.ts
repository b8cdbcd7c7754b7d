/** How a command can end without an answer of its own. What each means for the bill is the point of telling them apart. */

/** Nothing was, or ever will be, appended for this command: 503, try again. */
export class LedgerUnavailable extends Error {
  override name = 'LedgerUnavailable'
}

/** The attempt's outcome is unknown and it lies durably among the doubts; it will be fenced or voided: 503. */
export class AttemptInDoubt extends Error {
  override name = 'AttemptInDoubt'
}

/** The outcome is unknown and could not even be noted: no answer may be given, the connection is closed. */
export class Undeliverable extends Error {
  override name = 'Undeliverable'
}

/** The client went away before anything was appended for it. */
export class ClientGone extends Error {
  override name = 'ClientGone'
}

/** The log is not the one this instance folded: a restored older store, another store, a broken chain. */
export class LogMismatch extends Error {
  override name = 'LogMismatch'
}
