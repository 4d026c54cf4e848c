"""Settings from the configuration that a host has already: of Postfix, or of another mail program.

Pure, one module a source: text or a `Configuration` in, `Adopted` out. The rest stays as it is, and
is listed with the reason.
"""

from postward.config.adopt.adopted import Adopted, AdoptedRelay, NothingToAdoptError, Unmanaged

__all__ = ["Adopted", "AdoptedRelay", "NothingToAdoptError", "Unmanaged"]
