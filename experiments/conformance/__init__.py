"""Whether an optimizer does what it says: any Adan against a float64 reference, any optimizer against its contract.

reference        Adan in float64 numpy, the definition that all others are held against
cases            the parameters and gradient streams on which they are compared
implementations  every installed Adan, each with how its arguments map and what it does not offer
measuring        how far the updates of an implementation are from the reference's
departures       known ways of not being Adan, each as a changed reference
explaining       which of those account for what an implementation does, in words
reproduction     the few lines of code that show it
page             the Markdown page: `python scripts/conformance.py`
subject, checks  what needs no reference: `python scripts/conformance.py --optimizer my_package:MyOptimizer`
"""
