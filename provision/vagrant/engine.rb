# What Docker's engine says of itself, and what of it stands between this computer and `vagrant up`; asks, and changes
# nothing.
require "json"
require "open3"
require "timeout"

module StackLab
  module Engine
    OLDEST = "20.10" # the first that gives a container control groups of its own (--cgroupns)
    DISK_BYTES = 5 * 10**9
    INFO = "{{json .}}"
    LABEL = "stacklab.folder" # of a container: the folder whose lab it is

    class << self
      # {"fault": why it cannot be used, or nil; "version", "desktop", "memory_bytes", "root": where it keeps its data,
      # "networks": [[name, subnet, interface]], "addresses": [[address, container]]}; nil where there is no `docker`.
      # `folder` is the lab's own.
      def facts(folder)
        printed, errors = ask("info", "--format", INFO)
        return unless printed

        info = parsed(printed) || {}
        fault = fault_of(info, errors)
        return { "fault" => fault, "networks" => [], "addresses" => [] } if fault

        {
          "fault" => nil, "version" => info["ServerVersion"], "desktop" => info["OperatingSystem"] == "Docker Desktop",
          "memory_bytes" => info["MemTotal"], "root" => info["DockerRootDir"], "networks" => networks,
          "addresses" => addresses(folder)
        }
      end

      def fault_of(info, errors)
        return "it runs containers for #{info["OSType"]}" unless ["linux", nil, ""].include?(info["OSType"])
        return unless info["ServerVersion"].to_s.empty?

        Array(info["ServerErrors"]).first || errors.lines.last.to_s.strip
      end

      # What is said of it, as [check, state, what, what to do].
      def provider(facts)
        fault, version = facts["docker"].values_at("fault", "version")
        if fault
          start = "Start Docker Desktop, with Linux containers"
          if facts["system"] == "Linux"
            start = "sudo systemctl start docker, and be in its group: sudo adduser $USER docker, then log in again"
          end
          return ["provider", "fail", "Docker's engine cannot be used: #{fault}", start]
        end
        if (numbers(version) <=> numbers(OLDEST)) == -1
          return ["provider", "fail", "Docker's engine #{version} is older than #{OLDEST}", "Install a newer Docker"]
        end

        ["provider", "ok", "Docker #{version}", ""]
      end

      # Docker Desktop's own machine; on Linux it is the computer's memory that counts.
      def memory(facts)
        have, need = facts["docker"]["memory_bytes"], 2 * facts["machine_memory_mb"] * 2**20
        words = "Docker's engine has #{Diagnosis.gb(have)}; the two machines may take #{Diagnosis.gb(need)}"
        return ["memory", "ok", words, ""] if have >= 0.9 * need # it tells somewhat less than one gave it

        smaller = Diagnosis.set(facts, "STACKLAB_MEMORY_MB", 1280)
        ["memory", "fail", words, "Give it more (Docker Desktop: Settings → Resources), or take smaller machines: #{smaller}"]
      end

      # Of the networks and containers in the engine, the one that has what the machines want: words for it, or nil.
      def clash(facts)
        wanted = IPAddr.new(facts["network"])
        name, subnet, = facts["docker"]["networks"].find do |name, subnet, _|
          name != network_name(facts["network"]) && (wanted.include?(IPAddr.new(subnet)) || IPAddr.new(subnet).include?(wanted))
        end
        return "Docker's network #{name} (#{subnet})" if name

        address, container = facts["docker"]["addresses"].find { |address, _| wanted.include?(IPAddr.new(address)) }
        "the container #{container} (#{address}), of another folder's lab," if address
      end

      def network_name(subnet)
        "stacklab-#{subnet.tr("/", "-")}"
      end

      # The interface of the lab's own network, where the engine has no machine of its own.
      def bridge(facts)
        facts["docker"]["networks"].find { |name, *| name == network_name(facts["network"]) }&.last
      end

      private

      def numbers(version)
        version.scan(/\d+/).first(2).map(&:to_i)
      end

      # What it prints, and its errors; nil without `docker`. One that hangs has said nothing.
      def ask(*words)
        Timeout.timeout(30) { Open3.capture3("docker", *words).first(2) }
      rescue Timeout::Error
        ["", "it does not answer"]
      rescue SystemCallError
        nil
      end

      def parsed(text)
        JSON.parse(text)
      rescue JSON::ParserError
        nil
      end

      def inspected(kind, ids)
        ids.empty? ? [] : parsed(ask(kind, "inspect", *ids).first) || []
      end

      def networks
        inspected("network", ask("network", "ls", "--quiet").first.split).flat_map do |each|
          subnets = Array(each.dig("IPAM", "Config")).map { |config| config["Subnet"] }
          bridge = each.dig("Options", "com.docker.network.bridge.name") || "br-#{each["Id"][0, 12]}"
          subnets.select { |subnet| subnet&.include?(".") }.map { |subnet| [each["Name"], subnet, bridge] }
        end
      end

      # (A container that an older checkout made has no label, and one of a folder that was renamed an old one.)
      def addresses(folder)
        known = Dir[File.join(folder, ".vagrant/machines/*/docker/id")].map { |file| File.read(file).strip }
        others = inspected("container", ask("ps", "--all", "--quiet").first.split).reject do |each|
          each.dig("Config", "Labels").to_h[LABEL] == folder || known.include?(each["Id"])
        end
        others.flat_map do |each|
          told = each.dig("NetworkSettings", "Networks").to_h.values.map do |network|
            [network.dig("IPAMConfig", "IPv4Address"), network["IPAddress"]].find { |address| !address.to_s.empty? }
          end
          told.compact.map { |address| [address, each["Name"].delete_prefix("/")] }
        end
      end
    end
  end
end
