# What `vagrant doctor` knows: is this computer ready for `vagrant up`, and if not, what to do about it. Laptops need no
# Python for it; `fab doctor` asks it (--json). Whether a provider can be used it asks Vagrant itself.
require "date"
require "ipaddr"
require "socket"
require "timeout"
require_relative "engine"

module StackLab
  Finding = Struct.new(:check, :state, :what, :todo)

  # Facts in, findings out. `facts` is a Hash with the keys that Computer#facts gives, and "provider", "provider_fault" (why
  # it cannot be used), "has_public_box" and "running" (machines); nil is a fact that cannot be known.
  module Diagnosis
    DISK_BYTES = 12 * 10**9
    # No public box can be had from then on: hashicorp/vagrant#13836.
    REGISTRY_ENDS = "2026-12-31"
    OLDEST_VAGRANT = "2.3.4"
    VAGRANT_WITH_ARCHITECTURES = "2.4.0"
    PORT_IS_FOR = {
      "STACKLAB_JUPYTER_PORT" => ["JupyterLab", "desk"], "STACKLAB_SITE_PORT" => ["the site", "web"],
    }.freeze
    PROVIDER_INTERFACES = %w[vboxnet* VirtualBox* virbr* vmnet* VMware* bridge1* vnic* Parallels*].freeze

    def self.of(facts)
      [vagrant(facts), *provider(facts), virtualization(facts), memory(facts), disk(facts), *ports(facts), network(facts),
       box(facts)]
    end

    def self.vagrant(facts)
      say = ->(*rest) { Finding.new("Vagrant", *rest) }
      told = facts["vagrant"]
      version, oldest, choosing = [told, OLDEST_VAGRANT, VAGRANT_WITH_ARCHITECTURES].map { |each| Gem::Version.new(each) }
      if version < oldest
        say.("fail", "Vagrant #{told} is older than #{OLDEST_VAGRANT}", "Install a newer Vagrant")
      elsif facts["architecture"] == "arm64" && version < choosing && facts["provider"] != "docker"
        say.("fail", "Vagrant #{told} cannot choose a box for arm64: it takes one for amd64",
             "Install Vagrant #{VAGRANT_WITH_ARCHITECTURES} or newer")
      else
        say.("ok", "Vagrant #{told}", "")
      end
    end

    def self.docker?(facts)
      facts["provider"] == "docker" && facts["docker"]
    end

    def self.provider(facts)
      return [Finding.new(*Engine.provider(facts))] if docker?(facts)

      name, fault = facts["provider"], facts["provider_fault"]
      return [Finding.new("provider", "fail", fault, "Install Docker or VirtualBox, or mend what is said here")] if fault

      if name == "libvirt" && facts["libvirt"] != "usable"
        return [Finding.new("provider", "fail", "libvirt does not answer: #{facts["libvirt"] || "virsh is missing"}",
                            "sudo systemctl start libvirtd, and be in its group: sudo adduser $USER libvirt, then log in again")]
      end

      findings = [Finding.new("provider", "ok", name, "")]
      if name == "virtualbox" && facts["system"] == "Linux" && facts["kvm"]
        findings << Finding.new("provider", "warn",
                                "VirtualBox and KVM share the processor, and kernels from 6.12 give it to KVM",
                                "If VirtualBox says VERR_VMX_IN_VMX_ROOT_MODE: sudo modprobe -r kvm_intel kvm_amd kvm")
      end
      findings
    end

    def self.virtualization(facts)
      return kvm(facts) if facts["provider"] == "libvirt"

      say = ->(*rest) { Finding.new("virtualisation", *rest) }
      return say.("ok", "containers need none of their own", "") if docker?(facts)

      if facts["virtualization"] == false
        say.("fail", "the processor's virtualisation is switched off, or this is itself a machine",
             "Switch on VT-x (Intel) or SVM (AMD) in the firmware's set-up")
      elsif facts["hypervisor_takes_it"]
        say.("warn", "Hyper-V runs: VirtualBox works through it, slowly, or not at all",
             "Switch off Memory integrity (Windows Security → Device security) and the features Hyper-V and Virtual " \
             "Machine Platform, run 'bcdedit /set hypervisorlaunchtype off' as administrator, and restart")
      elsif facts["virtualization"].nil?
        say.("warn", "cannot tell whether virtualisation is switched on",
             "If the machines do not start, look in the firmware's set-up")
      else
        say.("ok", "the processor's virtualisation is on", "")
      end
    end

    def self.kvm(facts)
      say = ->(*rest) { Finding.new("virtualisation", *rest) }
      if facts["libvirt_driver"] == "qemu"
        say.("warn", "QEMU emulates the processor: it works, far slower; measure nothing by it",
             "Unset STACKLAB_LIBVIRT_DRIVER where KVM works")
      elsif facts["kvm"] != "usable"
        say.("fail", "KVM does not work: #{facts["kvm"] || "/dev/kvm is not there"}",
             "Switch on VT-x or SVM in the firmware's set-up, and be in the group kvm; " \
             "or emulate: export STACKLAB_LIBVIRT_DRIVER=qemu")
      elsif facts["virtualization"] == false
        say.("fail",
             "/dev/kvm is there, but the processor shows neither vmx nor svm: Debian's kernels hang in such a nested machine",
             "Switch on nested virtualisation outside, or emulate: export STACKLAB_LIBVIRT_DRIVER=qemu")
      else
        say.("ok", "KVM works", "")
      end
    end

    def self.memory(facts)
      return Finding.new(*Engine.memory(facts)) if docker?(facts) && facts["docker"]["desktop"]

      say = ->(*rest) { Finding.new("memory", *rest) }
      have, free, running = facts.values_at("memory_bytes", "memory_available_bytes", "running")
      need = (2 - running.size) * facts["machine_memory_mb"] * 2**20
      who = ["the two machines take #{gb(need)}", "the other machine takes #{gb(need)}", "both machines run"][running.size]
      return say.("warn", "cannot tell how much memory is free", "Close what you do not need: #{who}") unless have && free

      words = "#{gb(free)} of #{gb(have)} free; #{who}"
      if need.zero? || free >= need + 2**30
        say.("ok", words, "")
      elsif have >= need + 2 * 2**30
        say.("warn", words, "Close what you do not need, or take smaller machines: #{set(facts, "STACKLAB_MEMORY_MB", 1536)}")
      else
        say.("fail", words,
             "Take smaller machines (#{set(facts, "STACKLAB_MEMORY_MB", 1280)}), or web alone: vagrant up web")
      end
    end

    def self.disk(facts)
      say = ->(*rest) { Finding.new("disk", *rest) }
      free = facts["disk_free_bytes"]
      what, need = docker?(facts) ? ["the image", Engine::DISK_BYTES] : ["a box", DISK_BYTES]
      return say.("warn", "cannot tell how much of the disk is free", "The lab takes up to #{gb(need)}") unless free

      words = "#{gb(free)} free; #{what} and two machines take up to #{gb(need)}"
      return say.("ok", words, "") if facts["running"].any? || free >= need

      where = "boxes go to Vagrant's home (VAGRANT_HOME moves it), machines to the provider's own folder"
      where = "Docker keeps its data in #{facts["docker"]["root"]}" if docker?(facts)
      say.("fail", words, "Make room: #{where}")
    end

    def self.ports(facts)
      facts["ports"].map do |variable, port|
        whose, machine = PORT_IS_FOR.fetch(variable)
        if facts["running"].include?(machine) || !facts["ports_taken"].include?(port)
          Finding.new("ports", "ok", "port #{port} for #{whose}", "")
        else
          Finding.new("ports", "fail", "port #{port}, for #{whose}, is taken by another program, or kept by the system",
                      "Stop that program, or take another port: #{set(facts, variable, port + 1)}")
        end
      end
    end

    def self.network(facts)
      wanted = facts["network"]
      clash = interface_in(wanted, facts)
      clash ||= Engine.clash(facts) if docker?(facts)
      return Finding.new("network", "ok", "#{wanted} is free for the machines", "") unless clash

      another = set(facts, "STACKLAB_NETWORK", wanted == "192.168.57.0/24" ? "192.168.58" : "192.168.57")
      Finding.new("network", "fail", "#{clash} is in the machines' network #{wanted}",
                  "Take another: #{another} (VirtualBox allows 192.168.56 to 192.168.63)")
    end

    def self.interface_in(wanted, facts)
      return if docker?(facts) && facts["docker"]["desktop"] # its networks are in a machine of its own

      network = IPAddr.new(wanted)
      own = docker?(facts) ? [Engine.bridge(facts)] : PROVIDER_INTERFACES
      interface, address = facts["networks"].find do |name, address|
        mine = own.any? { |pattern| pattern && File.fnmatch(pattern, name) }
        !mine && (network.include?(IPAddr.new(address)) || IPAddr.new(address).include?(network))
      end
      "#{interface} (#{address})" if interface
    end

    def self.box(facts)
      wanted = "#{facts["provider"]}-#{facts["architecture"]}.#{docker?(facts) ? "tar.zst" : "box"}"
      return chosen_box(facts, wanted) if facts["chosen_box"]

      files = facts["box_files"]
      if (fitting = files.reverse.find { |name| name.end_with?("-#{wanted}") })
        Finding.new("box", "ok", "#{fitting}: vagrant up needs no network", "")
      elsif docker?(facts)
        Finding.new("box", "ok", "no image file here: the first vagrant up builds the image, and needs a network for it", "")
      elsif facts["box_url"]
        Finding.new("box", "ok", "STACKLAB_BOX_URL=#{facts["box_url"]}", "")
      elsif facts["has_public_box"]
        Finding.new("box", "ok", "the public box is on this computer already", "")
      else
        public_box(facts, wanted)
      end
    end

    def self.public_box(facts, wanted)
      files = facts["box_files"].empty? ? "no box file here" : "none of #{facts["box_files"].join(", ")} fits"
      docker = "vagrant up --provider=docker needs no box, nor does a room without a network with stacklab-…-#{wanted}"
      if facts["today"] > REGISTRY_ENDS
        Finding.new("box", "fail", "#{files}, and Vagrant's registry of public boxes ended on #{REGISTRY_ENDS}",
                    "#{docker}; or STACKLAB_BOX_URL names a place that has the box")
      else
        until_then = "a public box will be downloaded, which works until #{REGISTRY_ENDS}, when Vagrant's registry ends"
        Finding.new("box", "warn", "#{files}: #{until_then}", "#{docker}; a box that was downloaded once stays usable")
      end
    end

    def self.chosen_box(facts, wanted)
      chosen = "STACKLAB_BOX=#{facts["chosen_box"]}"
      if facts["chosen_box_is_missing"]
        Finding.new("box", "fail", "#{chosen}: there is no such file", "Correct its path, or unset STACKLAB_BOX")
      elsif chosen.match?(/stacklab-.*\.(box|tar\.zst)\z/) && !chosen.end_with?("-#{wanted}")
        Finding.new("box", "fail", "#{chosen} is for another provider or processor",
                    "Take stacklab-…-#{wanted}, or unset STACKLAB_BOX")
      else
        Finding.new("box", "ok", chosen, "")
      end
    end

    # How one sets an environment variable there.
    def self.set(facts, variable, value)
      facts["system"] == "Windows" ? "in PowerShell, $env:#{variable} = #{value}" : "export #{variable}=#{value}"
    end

    def self.gb(bytes)
      format("%.1f GB", bytes / 1e9)
    end
  end

  # Looks at this computer, and changes nothing. A fact that cannot be found out is nil.
  class Computer
    KVM_CREATE_VM = 0xAE01 # <linux/kvm.h>
    LIBVIRT_IMAGES = "/var/lib/libvirt/images"
    WINDOWS_NETWORKS = <<~POWERSHELL
      Get-CimInstance Win32_NetworkAdapterConfiguration -Filter IPEnabled=TRUE | ForEach-Object {
        for ($i = 0; $i -lt $_.IPAddress.Count; $i++) { $_.Description + '|' + $_.IPAddress[$i] + '|' + $_.IPSubnet[$i] }
      }
    POWERSHELL

    # `home` is Vagrant's own folder; `ports`, `machine_memory_mb` and `network` are the Vagrantfile's.
    def initialize(home, ports, machine_memory_mb, network)
      @home, @ports, @machine_memory_mb, @network = home.to_s, ports, machine_memory_mb, network
      @system = Computer.system
    end

    def self.system
      case RbConfig::CONFIG["host_os"]
      when /mswin|mingw/ then "Windows"
      when /darwin/ then "Darwin"
      else "Linux"
      end
    end

    def facts
      total, available = known { memory_bytes }
      hypervisor = known { hypervisor? }
      docker = known { Engine.facts(File.realpath(ROOT)) }
      chosen = StackLab.chosen_box
      {
        "vagrant" => Vagrant::VERSION, "today" => Date.today.iso8601, "network" => "#{@network}.0/24", "docker" => docker,
        "system" => @system, "architecture" => StackLab.architecture, "hypervisor_takes_it" => hypervisor,
        "virtualization" => known { virtualization(hypervisor) }, "kvm" => (known { kvm } if @system == "Linux"),
        "libvirt" => known { libvirt }, "libvirt_driver" => ENV.fetch("STACKLAB_LIBVIRT_DRIVER", "kvm"),
        "machine_memory_mb" => @machine_memory_mb, "memory_bytes" => total, "memory_available_bytes" => available,
        "disk_free_bytes" => known { disk_free_bytes(docker.to_h["root"]) }, "ports" => @ports,
        "ports_taken" => @ports.values.select { |port| taken?(port) }, "networks" => known { networks } || [],
        "box_files" => Dir.glob("stacklab-*.{box,tar.zst}", base: ROOT).sort_by { |name| File.mtime(File.join(ROOT, name)) },
        "chosen_box" => chosen, "chosen_box_is_missing" => chosen.to_s.end_with?(".box", ".zst") && !File.file?(chosen),
        "box_url" => StackLab.box_url,
      }
    end

    # What a command prints; nil if it is missing, fails, or takes longer.
    def self.output(*command, timeout_s: 30)
      pipe = IO.popen(command, in: File::NULL, err: File::NULL)
      printed = Timeout.timeout(timeout_s) { pipe.read }
      pipe.close
      printed.scrub.strip if $?.success?
    rescue Timeout::Error
      Process.kill(:KILL, pipe.pid)
      pipe.close
      nil
    rescue SystemCallError
      nil
    end

    # [all, what programs may have], of what each system's own tool prints.
    def self.linux_memory(meminfo)
      %w[MemTotal MemAvailable].map { |name| meminfo[/^#{name}:\s+(\d+) kB/, 1]&.to_i&.*(1024) }
    end

    def self.mac_memory(memsize, vm_stat)
      page, free, inactive = [/page size of (\d+) bytes/, /^Pages free:\s+(\d+)/, /^Pages inactive:\s+(\d+)/].map do |number|
        vm_stat.to_s[number, 1]&.to_i
      end
      [memsize && Integer(memsize), (page * (free + inactive) if page && free && inactive)]
    end

    def self.windows_memory(printed)
      printed&.scan(/\d+/)&.map { |kilobytes| Integer(kilobytes) * 1024 }
    end

    # The bytes free, of what `df -Pk` prints.
    def self.free_of(df)
      df.to_s.lines.last.to_s[/\s\d+\s+\d+\s+(\d+)\s+\d+%/, 1]&.to_i&.*(1024)
    end

    # [[adapter, "address/netmask"]] of what WINDOWS_NETWORKS prints.
    def self.windows_networks(printed)
      printed.to_s.lines.map { |line| line.strip.split("|") }.select { |each| each.size == 3 && each[1].include?(".") }
             .map { |adapter, address, netmask| [adapter, "#{address}/#{netmask}"] }
    end

    private

    def known
      yield
    rescue StandardError
      nil
    end

    def output(*command)
      Computer.output(*command)
    end

    def powershell(expression)
      output("powershell", "-NoProfile", "-Command", expression)
    end

    def memory_bytes
      case @system
      when "Linux" then Computer.linux_memory(File.read("/proc/meminfo"))
      when "Darwin" then Computer.mac_memory(output("sysctl", "-n", "hw.memsize"), output("vm_stat"))
      when "Windows"
        Computer.windows_memory(
          powershell("$os = Get-CimInstance Win32_OperatingSystem; $os.TotalVisibleMemorySize; $os.FreePhysicalMemory")
        )
      end
    end

    def disk_free_bytes(docker_root)
      if @system == "Windows"
        return powershell("(Get-Item -LiteralPath '#{@home.gsub("'", "''")}').PSDrive.Free")&.[](/\A\d+\z/)&.to_i
      end

      folders = [@home, LIBVIRT_IMAGES, docker_root].select { |folder| folder && File.directory?(folder) }
      folders.map { |folder| Computer.free_of(output("df", "-Pk", folder)) }.min
    end

    def hypervisor?
      @system == "Windows" && powershell("(Get-CimInstance Win32_ComputerSystem).HypervisorPresent") == "True"
    end

    def virtualization(hypervisor)
      case @system
      when "Linux"
        StackLab.architecture == "amd64" ? File.read("/proc/cpuinfo").match?(/^flags\s*:.*\b(vmx|svm)\b/) : nil
      when "Darwin" then { "1" => true, "0" => false }[output("sysctl", "-n", "kern.hv_support")]
      when "Windows"
        # While Hyper-V runs, the firmware's switch reads as off.
        answer = powershell("(Get-CimInstance Win32_Processor).VirtualizationFirmwareEnabled").to_s
        hypervisor || (answer.include?("True") unless answer.empty?)
      end
    end

    # Really asks KVM for a machine: /dev/kvm may be there and refuse.
    def kvm
      step = "/dev/kvm"
      File.open("/dev/kvm", "r+") do |device|
        step = "/dev/kvm does not make a machine"
        IO.for_fd(device.ioctl(KVM_CREATE_VM, 0)).close
      end
      "usable"
    rescue Errno::ENOENT
      nil
    rescue SystemCallError => error
      "#{step}: #{SystemCallError.new(nil, error.errno).message}"
    end

    def libvirt
      output("virsh", "--connect", "qemu:///system", "version") ? "usable" : "virsh is missing, or has no connection"
    end

    # Another program listens there, on this address or on all; or the system does not let one listen.
    def taken?(port)
      return true unless port.between?(1, 65_535)

      Socket.tcp("127.0.0.1", port, connect_timeout: 1).close
      true
    rescue SystemCallError
      begin
        TCPServer.new("127.0.0.1", port).close
        false
      rescue SystemCallError
        true
      end
    end

    # [[interface, "address/netmask"]]. On Windows, adapters by their description: Ruby's names for them say nothing.
    def networks
      return Computer.windows_networks(powershell(WINDOWS_NETWORKS)) if @system == "Windows"

      with_address = Socket.getifaddrs.select { |each| each.addr&.ipv4? }
      with_address.map { |each| [each.name, "#{each.addr.ip_address}/#{each.netmask&.ipv4? ? each.netmask.ip_address : 24}"] }
    end
  end
end
