# Which of this computer's CPUs each machine gets: whole cores, so that the load takes nothing from what is measured.
# (A lab in a container has the same from stacklab/labs/cpus.py, which knows of weak cores and NUMA too.)
require "etc"

module StackLab
  module Cpus
    # The physical cores, each a list of its CPUs. Where the kernel tells nothing, each CPU is one.
    def self.cores(count = Etc.nprocessors, sys = "/sys/devices/system/cpu")
      files = (0...count).to_h { |cpu| [cpu, File.join(sys, "cpu#{cpu}/topology/thread_siblings_list")] }
      return (0...count).map { |cpu| [cpu] } unless files.values.all? { |file| File.file?(file) }

      files.values.map { |file| numbers(File.read(file)) }.uniq
    end

    # For web or desk: "0,4", at most `most` CPUs of its half of the cores, web's first; nil where there is only one core.
    def self.of(name, most, cores)
      half = cores.length / 2
      return nil if half.zero?

      (name == "web" ? cores.first(half) : cores.drop(half)).flatten.first(most).join(",")
    end

    # "0-1,4" as [0, 1, 4]
    def self.numbers(ranges)
      ranges.strip.split(",").flat_map { |range| Range.new(*range.split("-").values_at(0, -1).map { |end_| Integer(end_) }).to_a }
    end
  end
end
