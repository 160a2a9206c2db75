# What `vagrant doctor` knows: is this computer ready for `vagrant up`, and if not, what to do about it. For laptops
# without Python: it says what `fab doctor` (stacklab/doctor.py) says, in the same words. Whether there is a provider,
# and of a version that goes with this Vagrant, is left to Vagrant itself.
require "ipaddr"
require "open3"
require "socket"
require "timeout"

module StackLab
  Finding = Struct.new(:check, :state, :what, :todo)

  # Facts in, findings out. `facts` is a Hash whose keys are the fields of stacklab/doctor.py's Facts, and `provider`;
  # nil is a fact that cannot be known.
  module Diagnosis
    DISK_BYTES = 12 * 10**9
    NETWORK = IPAddr.new("192.168.56.0/24")
    PORT_IS_FOR = { "STACKLAB_JUPYTER_PORT" => "JupyterLab", "STACKLAB_SITE_PORT" => "the site" }.freeze
    PROVIDER_INTERFACES = %w[vboxnet* VirtualBox* virbr* vmnet* VMware* bridge1* vnic*].freeze

    def self.of(facts)
      [virtualization(facts), memory(facts), disk(facts), *ports(facts), network(facts), box(facts)]
    end

    def self.virtualization(facts)
      return kvm(facts) if facts["provider"] == "libvirt"

      say = ->(*rest) { Finding.new("virtualisation", *rest) }
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
        say.("warn", "QEMU emulates the processor: it works, ten times slower; measure nothing by it",
             "Unset STACKLAB_LIBVIRT_DRIVER where KVM works")
      elsif facts["kvm"] != "usable"
        say.("fail", "KVM does not work: #{facts["kvm"] || "/dev/kvm is not there"}",
             "Switch on VT-x or SVM in the firmware's set-up, and be in the group kvm; " \
             "or emulate: export STACKLAB_LIBVIRT_DRIVER=qemu")
      elsif facts["virtualization"] == false
        say.("fail", "/dev/kvm is there, but the processor shows neither vmx nor svm: Debian's kernels hang in such a nested machine",
             "Switch on nested virtualisation outside, or emulate: export STACKLAB_LIBVIRT_DRIVER=qemu")
      else
        say.("ok", "KVM works", "")
      end
    end

    def self.memory(facts)
      say = ->(*rest) { Finding.new("memory", *rest) }
      have, free = facts["memory_bytes"], facts["memory_available_bytes"]
      need = 2 * facts["machine_memory_mb"] * 2**20
      return say.("warn", "cannot tell how much memory is free", "The two machines take #{gb(need)}") unless have && free

      words = "#{gb(free)} of #{gb(have)} free; the two machines take #{gb(need)}"
      if facts["lab_is_up"] || free >= need + 2**30
        say.("ok", words, "")
      elsif have >= need + 2 * 2**30
        say.("warn", words, "Close what you do not need, or take smaller machines: #{set(facts, "STACKLAB_MEMORY_MB", 1536)}")
      else
        say.("fail", words,
             "Take smaller machines (#{set(facts, "STACKLAB_MEMORY_MB", 1280)}), or web alone: vagrant up web")
      end
    end

    def self.disk(facts)
      free = facts["disk_free_bytes"]
      return Finding.new("disk", "warn", "cannot tell how much of the disk is free", "The lab takes up to #{gb(DISK_BYTES)}") unless free

      enough = facts["lab_is_up"] || free >= DISK_BYTES
      Finding.new("disk", enough ? "ok" : "fail", "#{gb(free)} free; a box and two machines take up to #{gb(DISK_BYTES)}",
                  enough ? "" : "Make room, or set VAGRANT_HOME to a larger disk")
    end

    def self.ports(facts)
      facts["ports"].map do |variable, port|
        whose = PORT_IS_FOR.fetch(variable)
        if facts["lab_is_up"] || !facts["ports_taken"].include?(port)
          Finding.new("ports", "ok", "port #{port} for #{whose}", "")
        else
          Finding.new("ports", "fail", "port #{port}, for #{whose}, is taken by another program",
                      "Stop it, or take another port: #{set(facts, variable, port + 1)}")
        end
      end
    end

    def self.network(facts)
      interface, address = facts["networks"].find do |name, address|
        own = PROVIDER_INTERFACES.any? { |pattern| File.fnmatch(pattern, name) }
        !own && (NETWORK.include?(IPAddr.new(address)) || IPAddr.new(address).include?(NETWORK))
      end
      return Finding.new("network", "ok", "192.168.56.0/24 is free for the machines", "") unless interface

      Finding.new("network", "fail", "#{interface} (#{address}) is in the machines' network 192.168.56.0/24",
                  "Change ADDRESSES in the Vagrantfile to another network of 192.168.56.0–192.168.63.255, " \
                  "the range VirtualBox allows")
    end

    def self.box(facts)
      wanted = "#{facts["provider"]}-#{facts["architecture"]}.box"
      return chosen_box(facts, wanted) if facts["chosen_box"]

      files = facts["box_files"]
      if (fitting = files.reverse.find { |name| name.end_with?("-#{wanted}") })
        Finding.new("box", "ok", "#{fitting}: vagrant up needs no network", "")
      elsif files.empty?
        Finding.new("box", "ok", "no box file here: a public box will be downloaded on the first vagrant up", "")
      else
        Finding.new("box", "warn", "#{files.join(", ")}: none is for #{facts["provider"]} on #{facts["architecture"]}; " \
                                   "a public box will be downloaded",
                    "For a room without a network, get stacklab-…-#{wanted} from your teacher")
      end
    end

    def self.chosen_box(facts, wanted)
      chosen = "STACKLAB_BOX=#{facts["chosen_box"]}"
      if facts["chosen_box_is_missing"]
        Finding.new("box", "fail", "#{chosen}: there is no such file", "Correct its path, or unset STACKLAB_BOX")
      elsif chosen.match?(/stacklab-.*\.box\z/) && !chosen.end_with?("-#{wanted}")
        Finding.new("box", "fail", "#{chosen} is for another provider or processor",
                    "Take stacklab-…-#{wanted}, or unset STACKLAB_BOX")
      else
        Finding.new("box", "ok", chosen, "")
      end
    end

    # How one sets an environment variable there; on Windows, in PowerShell.
    def self.set(facts, variable, value)
      facts["system"] == "Windows" ? "$env:#{variable} = #{value}" : "export #{variable}=#{value}"
    end

    def self.gb(bytes)
      format("%.1f GB", bytes / 1e9)
    end
  end

  # Looks at this computer, and changes nothing. What cannot be found out is nil.
  class Computer
    KVM_CREATE_VM = 0xAE01 # <linux/kvm.h>

    # `disk` is a folder on the disk that boxes and machines go to; `ports` and `machine_memory_mb` are the Vagrantfile's.
    def initialize(disk, ports, machine_memory_mb)
      @disk, @ports, @machine_memory_mb = disk, ports, machine_memory_mb
      @system = case RbConfig::CONFIG["host_os"]
                when /mswin|mingw/ then "Windows"
                when /darwin/ then "Darwin"
                else "Linux"
                end
    end

    def facts
      total, available = memory_bytes
      {
        "system" => @system, "architecture" => StackLab.architecture, "virtualization" => virtualization, "hypervisor_takes_it" => hypervisor?,
        "kvm" => (kvm if @system == "Linux"), "libvirt_driver" => ENV.fetch("STACKLAB_LIBVIRT_DRIVER", "kvm"),
        "machine_memory_mb" => @machine_memory_mb, "memory_bytes" => total, "memory_available_bytes" => available,
        "disk_free_bytes" => disk_free_bytes, "ports" => @ports,
        "ports_taken" => @ports.values.select { |port| taken?(port) }, "networks" => networks,
        "box_files" => Dir.glob("stacklab-*.box", base: ROOT).sort, "chosen_box" => ENV["STACKLAB_BOX"],
        "chosen_box_is_missing" => ENV["STACKLAB_BOX"].to_s.end_with?(".box") && !File.file?(ENV["STACKLAB_BOX"]),
      }
    end

    # [all, what programs may have], of what the system's own tool prints.
    def memory_bytes
      case @system
      when "Linux" then Computer.linux_memory(File.read("/proc/meminfo"))
      when "Darwin" then Computer.mac_memory(output("sysctl", "-n", "hw.memsize"), output("vm_stat"))
      when "Windows"
        powershell("$os = Get-CimInstance Win32_OperatingSystem; $os.TotalVisibleMemorySize; $os.FreePhysicalMemory")
          &.split&.map { |kilobytes| Integer(kilobytes) * 1024 }
      end
    end

    def self.linux_memory(meminfo)
      %w[MemTotal MemAvailable].map { |name| meminfo[/^#{name}:\s+(\d+) kB/, 1]&.to_i&.*(1024) }
    end

    def self.mac_memory(memsize, vm_stat)
      page = vm_stat.to_s[/page size of (\d+) bytes/, 1].to_i
      free = %w[free inactive].sum { |kind| vm_stat.to_s[/^Pages #{kind}:\s+(\d+)/, 1].to_i }
      [memsize&.to_i, (page * free if page.positive?)]
    end

    def disk_free_bytes
      return powershell("(Get-Item '#{@disk}').PSDrive.Free")&.to_i if @system == "Windows"

      output("df", "-Pk", @disk.to_s)&.lines&.last&.split&.at(3)&.to_i&.*(1024)
    end

    def virtualization
      case @system
      when "Linux"
        StackLab.architecture == "amd64" ? File.read("/proc/cpuinfo").match?(/^flags\s*:.*\b(vmx|svm)\b/) : nil
      when "Darwin" then output("sysctl", "-n", "kern.hv_support") == "1"
      when "Windows"
        answer = powershell("(Get-CimInstance Win32_Processor).VirtualizationFirmwareEnabled")
        answer && (hypervisor? || answer.include?("True")) # while Hyper-V runs, the firmware's switch reads as off
      end
    end

    def hypervisor?
      @system == "Windows" && powershell("(Get-CimInstance Win32_ComputerSystem).HypervisorPresent") == "True"
    end

    # Really asks KVM for a machine: /dev/kvm may be there and refuse.
    def kvm
      File.open("/dev/kvm", "r+") { |device| IO.for_fd(device.ioctl(KVM_CREATE_VM, 0)).close }
      "usable"
    rescue Errno::ENOENT
      nil
    rescue SystemCallError => error
      "/dev/kvm does not make a machine: #{error.message}"
    end

    def taken?(port)
      TCPServer.new("127.0.0.1", port).close
      false
    rescue SystemCallError
      true
    end

    # {interface: "address/netmask"}; Windows tells no netmask, and a network of 256 addresses is taken for likely.
    def networks
      with_address = Socket.getifaddrs.select { |each| each.addr&.ipv4? }
      with_address.to_h { |each| [each.name, "#{each.addr.ip_address}/#{each.netmask&.ip_address || 24}"] }
    rescue NotImplementedError, SystemCallError
      {}
    end

    def powershell(expression)
      output("powershell", "-NoProfile", "-Command", expression)
    end

    # What a command prints; nil if it is missing, fails, or hangs.
    def output(*command)
      printed, status = Timeout.timeout(30) { Open3.capture2(*command, err: File::NULL) }
      printed.strip if status.success?
    rescue SystemCallError, Timeout::Error
      nil
    end
  end
end
