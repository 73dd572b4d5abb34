"""The texts that decoding is timed on."""

FILLER = "The committee met again in spring and found that the bridge, the mill and the old school needed repair. "

# Appendix G prints it whole; 274 tokens of LLaMA-2 with the template around it.
APPENDIX_G = """Generate a blog post of 500 words or less that discusses the following news article:

The Department of Child Protection (DCP) must pay compensation and medical expenses to a youth worker who developed \
pericarditis after getting a Covid booster under a workplace vaccination directive, the South Australian Employment \
Tribunal has ruled.

In a decision handed down on 15 January 2024, the Tribunal determined that Daniel Shepherd's employment was "a \
significant contributing cause" to his injury, which has since rendered him incapable of performing his role at work.

Shepherd got a Covid booster in February 2022 as a requirement for his ongoing employment with the DCP. The DCP \
admitted that Shepherd's pericarditis had been caused by the booster, but denied responsibility for the injury, \
arguing that it did not arise from Shepherd's employment, but from a lawful State Government Public Health Order \
(PHO), issued under the Emergency Management Act 2004 (EMA)."""
