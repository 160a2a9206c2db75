"""Files of tools that are not read: each is known, and told what to make of it."""

from __future__ import annotations

import re

from stacklab.runs.foreign.source import Source

TO_JTL = "make a CSV with the columns timeStamp,elapsed,label,success of it (milliseconds), which is read as JMeter's"
GATLING_TEXT = (
    "text log of Gatling, which is not read; make a CSV of its requests: "
    """awk -F'\\t' 'BEGIN{print "timeStamp,elapsed,label,success"} $1=="REQUEST"{printf "%s,%d,\\"%s\\",%s\\n", """
    """$4, $5-$4, $3, ($6=="OK" ? "true" : "false")}' simulation.log > simulation.jtl (of Gatling 3.4 and newer)"""
)
HEY = (
    "CSV of hey, which is not read; make JMeter's of it: "
    """awk -F, 'BEGIN{print "elapsed,label,success"} NR>1{printf "%.1f,hey,%s\\n", $1*1000, """
    """($7>=200 && $7<400 ? "true" : "false")}' hey.csv > hey.jtl"""
)
AB = (
    "data of ApacheBench (-g), which is not read; it tells no failures, and times by the second; make a CSV of it: "
    """awk -F'\\t' 'BEGIN{print "elapsed,label"} NR>1{print $5",ab"}' ab.tsv > ab.jtl"""
)


def words_for(source: Source) -> str | None:
    """What to say of a file of such a tool; None if it is none."""
    head, text = source.head, source.text.lstrip()
    if head[:1] == b"\0" and (version := re.match(rb"\0.{4}(\d+\.\d+[\w.]*)", head, re.S)):
        words = f"binary log of Gatling {version[1].decode()}, which is not read; {TO_JTL}"
        return f"{words}, or measure with Gatling 3.12, whose log is text"
    if b"Result" in head[:200] and b"Attack" in head[:200] and b"Latency" in head[:400]:
        return "results of vegeta (gob), which are not read; say: vegeta report -type=hdrplot results.bin > results.hgrm"
    if text.startswith("{") and '"attack"' in text[:400] and '"latency"' in text[:1000]:
        return "results of vegeta (JSON), which are not read; say: vegeta report -type=hdrplot results.json > results.hgrm"
    if re.match(r"RUN\t\S+\t", text):
        return GATLING_TEXT
    if text.startswith("response-time,DNS+dialup"):
        return HEY
    if text.startswith("starttime\tseconds\tctime"):
        return AB
    if text.startswith("This is ApacheBench") or text.startswith("Percentage served,Time in ms"):
        return f"summary of ApacheBench, which is not read; run ab with -g ab.tsv, and {TO_JTL}"
    if text.startswith("{") and '"aggregate"' in source.text and '"counters"' in source.text:
        return f"report of Artillery, which is not read: its percentiles are of a sketch, off by 1 to 2 %; {TO_JTL}"
    if text.startswith("{") and '"p97_5"' in source.text:
        return f"summary of autocannon, which is not read: it has no 95th percentile; {TO_JTL}"
    if head[:2] == b"PK" or head[:3] == b"BZh" or head[:6] == b"\xfd7zXZ\0" or head[:4] == b"\x28\xb5\x2f\xfd":
        return "is packed by another tool than gzip: unpack it first"
    return "is binary, and no result file that is read here" if source.is_binary else None
